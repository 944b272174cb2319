"""A pruned network in the trainer's hands."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property

import keras

from convert.recipe import Recipe
from convert.source import SourceModel
from convert.train.targets import Floats
from convert.train.teacher import Distilled, Teacher, resized_model
from convert.train.trainee import FloatSteps
from convert.trained import random_network


@dataclass(frozen=True)
class SmallTrainee(FloatSteps):
    """A network of a recipe that has lost channels.

    Attributes:
        model: The pruned network, at the recipe's own input size.
        whole: The network it was made from, as teacher; ``None`` to learn from labels alone.
        distil: Weight of the teacher.
    """

    model: keras.Model
    whole: keras.Model | None
    distil: float

    @cached_property
    def key(self) -> bytes:
        """Shapes and weights it starts from, and those of its teacher."""
        digest = hashlib.sha256(repr(self.distil).encode())
        for model in (self.model, self.whole):
            for weight in model.get_weights() if model is not None else ():
                digest.update(repr(weight.shape).encode() + weight.tobytes())
            digest.update(b"end")
        return digest.digest()

    def build(self, recipe: Recipe, size: int | None = None) -> SourceModel:
        """A copy for another input size."""
        source = random_network(recipe, size)
        return dataclasses.replace(source, model=resized_model(self.model, source.input.width))

    def start(self, model: keras.Model) -> None:
        """It is built with its start weights."""

    def targets(self, images: Floats, targets: Floats) -> Floats:
        """The labels, and beside them the teacher's answers."""
        return self._teacher.beside(images, targets) if self._teacher else targets

    def loss(self, plain: keras.losses.Loss) -> keras.losses.Loss:
        """The labels' loss, and the teacher's."""
        return Distilled(plain, self.distil) if self._teacher else plain

    @cached_property
    def _teacher(self) -> Teacher | None:
        return Teacher(self.whole) if self.whole is not None else None
