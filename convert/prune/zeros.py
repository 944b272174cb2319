"""Zeros among the weights of a network: how many there are, and how they stay zero in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from convert.prune.graph import Keep, unpacked
from convert.prune.sparsity import SPARSE, WITH_KERNEL, dense_layers
from runtime.errors import InputError


@dataclass(frozen=True)
class LayerZeros:
    """One layer with a kernel.

    Attributes:
        name: Of the layer.
        weights: How many weights its kernel has.
        zeros: How many of them are zero.
        dense: Why :func:`convert.prune.sparsity.sparsify` leaves it as it is; empty where it does not.
    """

    name: str
    weights: int
    zeros: int
    dense: str = ""

    @property
    def share(self) -> float:
        """Of zeros, 0..1."""
        return self.zeros / self.weights


def zero_report(model: keras.Model) -> tuple[LayerZeros, ...]:
    """The zeros in each kernel of a network, depthwise and output layers included; biases are not counted.

    Args:
        model: A functional or sequential Keras model.

    Raises:
        InputError: A sub-classed model.
    """
    model = unpacked(model)
    reasons, rows = dense_layers(model), []
    for layer in model.layers:
        if isinstance(layer, WITH_KERNEL):
            kernels = [weight for weight in layer.get_weights() if weight.ndim > 1]
            zeros = sum(int(np.count_nonzero(kernel == 0)) for kernel in kernels)
            count = sum(kernel.size for kernel in kernels)
            rows.append(LayerZeros(layer.name, count, zeros, reasons.get(layer.name, "")))
    return tuple(rows)


def zero_share(model: keras.Model) -> float:
    """Share of zeros among all weights of a network's kernels, 0..1, dense layers included; 0 where there are none.

    Raises:
        InputError: A sub-classed model.
    """
    rows = zero_report(model)
    return sum(row.zeros for row in rows) / max(1, sum(row.weights for row in rows))


@dataclass(frozen=True)
class Masks:
    """Where weights may be other than zero.

    Attributes:
        keep: By layer name, true where a weight of the kernel stays; of the kernel's shape.
    """

    keep: Mapping[str, Keep]

    def apply(self, model: keras.Model) -> None:
        """Sets the other weights to zero, in place. Call it after each step of an optimiser, on any backend.

        Momentum of the optimiser goes on for weights that are held at zero, and does no harm there. A moving average
        of the weights stays zero where this is called before the average is taken.

        Args:
            model: The network the masks were made of, or another with layers of these names and shapes.

        Raises:
            InputError: A layer is missing or has another shape.
        """
        layers = {layer.name: layer for layer in _flat(model)}
        for name, keep in self.keep.items():
            kernel = getattr(layers.get(name), "kernel", None)
            if kernel is None or tuple(kernel.shape) != keep.shape:
                seen = "no such layer" if kernel is None else f"a kernel of {tuple(kernel.shape)}"
                raise InputError(
                    f"masks for {name} {keep.shape}, {seen} in {model.name}",
                    "expected the network they were made of",
                    "make the masks again",
                )
            kernel.assign(ops.where(keep, kernel, ops.zeros_like(kernel)))


def keep_zeros(model: keras.Model) -> Masks:
    """Masks that hold the weights at zero that are zero now, in all convolutions and dense layers.

    Args:
        model: A network with sparse weights; also a folded one (``convert.quantize.fold``) or one for
            quantisation-aware training, whose zeros are in the same places.
    """
    kernels = {layer.name: layer.get_weights()[0] for layer in _flat(model) if isinstance(layer, SPARSE)}
    return Masks({name: kernel != 0 for name, kernel in kernels.items() if not kernel.all()})


def _flat(model: keras.Model) -> Iterable[Any]:
    """The layers of a network and of the networks inside it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer
