"""Which channels of a network belong together.

A channel can be scaled (or removed) only together with every other place that holds it: both sides of a sum, the slice
of a concatenation, what comes out of a pooling. Channels that belong together form a class. A class whose channels are
all made by convolutions and all read by convolutions can be divided by any positive number: its makers' weights take
the division, its readers' weights the multiplication.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.models.layers import ChannelGroup, EdgePadding, NearestUpsample
from convert.quantize.graph import inputs_of, is_convolution, is_depthwise, outputs_of
from convert.unionfind import Ids, UnionFind


@dataclass(frozen=True)
class ChannelClasses:
    """Class of every channel of every layer's result.

    Attributes:
        of: ``(channels,)`` class numbers by layer name.
        frozen: ``(classes,)`` bool, those that cannot be scaled.
    """

    of: Mapping[str, Ids]
    frozen: npt.NDArray[np.bool_]


def channel_classes(model: keras.Model) -> ChannelClasses:
    """Finds the classes of a functional model without batch normalisation."""
    forest = _Forest()
    ids: dict[str, Ids] = {}
    for layer in model.layers:
        ids[layer.name] = _visit(forest, layer, [] if _is_input(layer) else [ids[name] for name in inputs_of(layer)])
    for name in outputs_of(model):
        forest.freeze(ids[name])
    return forest.classes(ids)


def _is_input(layer: Any) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def _visit(forest: _Forest, layer: Any, inputs: list[Ids]) -> Ids:
    """Classes of a layer's result, given those of its inputs."""
    if is_convolution(layer):
        if getattr(layer, "groups", 1) != 1 or (is_depthwise(layer) and layer.depth_multiplier != 1):
            forest.freeze(inputs[0])
        return forest.grow(layer.output.shape[-1])
    if isinstance(layer, keras.layers.Concatenate) and layer.axis in (-1, 3):
        return np.concatenate(inputs)
    if isinstance(layer, keras.layers.Add) and len({len(each) for each in inputs}) == 1:
        for other in inputs[1:]:
            forest.join(inputs[0], other)
        return inputs[0]
    if isinstance(layer, ChannelGroup):
        part: Ids = np.split(inputs[0], layer.groups)[layer.group_id]
        return part
    if commutes(layer):
        return inputs[0]
    for each in inputs:
        forest.freeze(each)
    shape = layer.output.shape if not isinstance(layer.output, (list, tuple)) else layer.output[0].shape
    made = forest.grow(shape[-1])
    forest.freeze(made)
    return made


def commutes(layer: Any) -> bool:
    """Whether a layer of one input keeps its channels apart and commutes with positive factors."""
    keeps = (
        keras.layers.Dropout,
        keras.layers.MaxPooling2D,
        keras.layers.ZeroPadding2D,
        keras.layers.LeakyReLU,
        NearestUpsample,
        EdgePadding,
    )
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold
    return isinstance(layer, keeps)


class _Forest:
    """Channels that are scaled together, and those that cannot be."""

    def __init__(self) -> None:
        self._channels = UnionFind()
        self._frozen: set[int] = set()

    def grow(self, count: int) -> Ids:
        return self._channels.grow(count)

    def freeze(self, ids: Ids) -> None:
        self._frozen.update(ids.tolist())

    def join(self, ids: Ids, others: Ids) -> None:
        for a, b in zip(ids.tolist(), others.tolist(), strict=True):
            self._channels.join(a, b)

    def classes(self, ids: Mapping[str, Ids]) -> ChannelClasses:
        """Numbers the classes without gaps."""
        root = self._channels.root
        roots = {name: np.array([root(node) for node in each.tolist()], np.int64) for name, each in ids.items()}
        numbers = {known: i for i, known in enumerate(sorted({int(r) for each in roots.values() for r in each}))}
        frozen = np.zeros(len(numbers), np.bool_)
        frozen[[numbers[root(node)] for node in self._frozen]] = True
        return ChannelClasses(
            {name: np.array([numbers[int(r)] for r in each], np.int64) for name, each in roots.items()}, frozen
        )
