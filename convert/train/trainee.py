"""What a training trains: the float network of a recipe, or its int8 simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras

from convert.recipe import Recipe
from convert.source import SourceModel
from convert.train.fused_norm import fuse_norms
from convert.train.targets import Floats
from convert.train.weights import adopt_weights
from convert.trained import random_network


class Trainee(Protocol):
    """A network in the trainer's hands. Its weights always come in the order of ``model.get_weights()``."""

    @property
    def key(self) -> bytes:
        """Identifies what the training starts from."""
        ...

    def build(self, recipe: Recipe, size: int | None = None) -> SourceModel:
        """The network for an input of ``size`` pixels, by default the recipe's own; any weights."""
        ...

    def start(self, model: keras.Model) -> None:
        """Sets the weights a training begins with."""
        ...

    def quick(self, model: keras.Model) -> keras.Model:
        """The same network, as it trains fastest."""
        ...

    def averaged(self, model: keras.Model) -> list[bool]:
        """Of which weights the moving average is kept; of the others the newest value."""
        ...

    def before(self, model: keras.Model, step: int) -> None:
        """Called before every step."""
        ...

    def targets(self, images: Floats, targets: Floats) -> Floats:
        """What the loss compares with: ``(b, n, 5)`` targets, or more columns."""
        ...

    def loss(self, plain: keras.losses.Loss) -> keras.losses.Loss:
        """The loss that takes these targets."""
        ...


class FloatSteps:
    """How any float network trains, step by step."""

    def quick(self, model: keras.Model) -> keras.Model:
        """With fused batch normalisation."""
        return fuse_norms(model)

    def averaged(self, model: keras.Model) -> list[bool]:
        """All of them."""
        return [True] * len(model.weights)

    def before(self, model: keras.Model, step: int) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class FloatTrainee(FloatSteps):
    """The float network of a recipe.

    Attributes:
        weights: Weights to start from, adopted by layer name; ``None`` for random ones.
        widen: Whether they may be those of a narrower network.
    """

    weights: Path | None = None
    widen: bool = False

    @property
    def key(self) -> bytes:
        """The start weights."""
        return self.weights.read_bytes() if self.weights else b""

    def build(self, recipe: Recipe, size: int | None = None) -> SourceModel:
        """With random weights."""
        return random_network(recipe, size)

    def start(self, model: keras.Model) -> None:
        """Adopts the start weights."""
        if self.weights is not None:
            adopt_weights(model, self.weights, self.widen)

    def targets(self, images: Floats, targets: Floats) -> Floats:
        """As they are."""
        return targets

    def loss(self, plain: keras.losses.Loss) -> keras.losses.Loss:
        """As it is."""
        return plain


def joined(model: keras.Model, classes: int) -> keras.Model:
    """A network whose heads are one tensor: ``box, class, box, class, ..`` to ``(b, n, 4 + classes)``."""
    parts: list[Any] = []
    for box, logits in zip(model.outputs[::2], model.outputs[1::2], strict=True):
        pair = [keras.layers.Reshape((-1, n))(tensor) for tensor, n in ((box, 4), (logits, classes))]
        parts.append(keras.layers.Concatenate(axis=-1)(pair))
    return keras.Model(model.input, parts[0] if len(parts) == 1 else keras.layers.Concatenate(axis=1)(parts))
