"""Quantisation-aware training: trained weights go on learning, with the rounding of int8 in the network.

Which tensors are rounded, and which share a scale, is what the converter path says
(:func:`convert.quantize.tensors.plan_tensors`), so that what was trained is what is exported.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import keras
from keras import ops

from convert.quantize.tensors import Range, TensorPlan
from convert.recipe import Recipe, TrainedRecipe
from convert.source import SourceModel
from convert.train.qat_network import freeze_ranges, moving_ranges, qat_network, set_ranges
from convert.train.recipe import QatRecipe, Stage
from convert.train.targets import Floats
from convert.train.teacher import Distilled, Teacher
from convert.trained import random_network


def qat_recipe(recipe: Recipe) -> Recipe:
    """The recipe with its ``[qat]`` section (or the defaults) in the place of its training."""
    plan, qat = recipe.train, recipe.qat or QatRecipe()
    assert plan is not None
    assert isinstance(recipe.source, TrainedRecipe)
    last = plan.stages[-1]
    stage = Stage(qat.size or recipe.source.network.size, qat.steps, qat.shares or last.shares, qat.mosaic)
    plan = dataclasses.replace(
        plan,
        stages=(stage,),
        start=None,
        learning_rate=qat.learning_rate,
        warmup=qat.warmup,
        # Decay pulls towards zero what a long training settled; here everything starts in place.
        weight_decay=0.0,
        average=qat.average,
        report_every=qat.report_every,
    )
    return dataclasses.replace(recipe, train=plan, qat=qat)


@dataclass(frozen=True)
class Int8Trainee:
    """A trained network in its int8 simulation.

    Attributes:
        qat: How it is trained.
        exact: The float network with folded normalisation, of the recipe's own input size.
        plan: Its int8 tensors.
        ranges: Ranges to start with, by scale group; the input's and the fixed ones stay.
        frozen_from: Step from which all ranges stay.
    """

    qat: QatRecipe
    exact: keras.Model
    plan: TensorPlan
    ranges: Mapping[str, Range]
    frozen_from: int

    @cached_property
    def key(self) -> bytes:
        """How it is trained, start weights and ranges."""
        digest = hashlib.sha256(repr((self.qat, sorted(self.ranges.items()))).encode())
        for weight in self.exact.get_weights():
            digest.update(weight.tobytes())
        return digest.digest()

    def build(self, recipe: Recipe, size: int | None = None) -> SourceModel:
        """The simulation, with the float network's weights and the ranges to start with."""
        per_tensor = self.qat.weights == "per-tensor"
        network = qat_network(self.exact, self.plan, per_tensor, self.qat.momentum, size)
        set_ranges(network, self.ranges)
        return dataclasses.replace(random_network(recipe, size), model=network)

    def start(self, model: keras.Model) -> None:
        """It is built with its start weights."""

    def quick(self, model: keras.Model) -> keras.Model:
        """As it is: nothing is left to fuse."""
        return model

    def averaged(self, model: keras.Model) -> list[bool]:
        """Kernels and biases; ranges are averages already."""
        return [bool(weight.trainable) for weight in model.weights]

    def before(self, model: keras.Model, step: int) -> None:
        """Freezes the ranges when it is time."""
        frozen = step >= self.frozen_from
        free = [layer for layer in moving_ranges(model).values() if not layer.fixed]
        if free and bool(ops.convert_to_numpy(free[0].moving)[0]) == frozen:
            freeze_ranges(model, frozen)

    def targets(self, images: Floats, targets: Floats) -> Floats:
        """The labels, and beside them the float network's answers where they are asked for."""
        return self._teacher.beside(images, targets) if self.qat.distil else targets

    def loss(self, plain: keras.losses.Loss) -> keras.losses.Loss:
        """The labels' loss, and the teacher's."""
        return Distilled(plain, self.qat.distil) if self.qat.distil else plain

    @cached_property
    def _teacher(self) -> Teacher:
        return Teacher(self.exact)
