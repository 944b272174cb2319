"""Running a network layer by layer, for all pictures at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.quantize.graph import inputs_of

# Tensors of a few pictures each.
Batches = list[Any]

BATCH = 8


def in_batches(samples: npt.NDArray[np.float32]) -> Batches:
    """Inputs ``(n, ..)`` as tensors of at most :data:`BATCH` pictures."""
    return [tf.constant(samples[start : start + BATCH]) for start in range(0, len(samples), BATCH)]


class Flow:
    """What the layers of one network give, as long as somebody still reads it.

    Layers are run in network order; their weights may change until then.

    Args:
        model: A functional model, each layer applied once.
        batches: What its input gets.
    """

    def __init__(self, model: keras.Model, batches: Sequence[Any]) -> None:
        self._batches, self._results = list(batches), dict[str, Batches]()
        self._uses: dict[str, int] = {}
        for layer in model.layers:
            for name in _sources(layer):
                self._uses[name] = self._uses.get(name, 0) + 1

    def __getitem__(self, name: str) -> Batches:
        """Result of an earlier layer."""
        return self._results[name]

    def __setitem__(self, name: str, batches: Batches) -> None:
        """Puts something else in the place of a layer's result."""
        self._results[name] = batches

    def run(self, layer: Any) -> Batches:
        """Runs a layer on what came before it."""
        if isinstance(layer, keras.layers.InputLayer):
            self[layer.name] = self._batches
        else:
            sources = [self[name] for name in _sources(layer)]
            several = isinstance(layer.input, (list, tuple))
            self[layer.name] = [
                layer(list(each) if several else each[0], training=False) for each in zip(*sources, strict=True)
            ]
        return self[layer.name]

    def forget(self, layer: Any) -> None:
        """Frees what nobody reads any more after this layer."""
        for name in _sources(layer):
            self._uses[name] -= 1
            if not self._uses[name]:
                del self._results[name]


def _sources(layer: Any) -> list[str]:
    return [] if isinstance(layer, keras.layers.InputLayer) else inputs_of(layer)
