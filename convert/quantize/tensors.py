"""Which tensors of a network become int8, and which of them share one scale.

This is where TensorFlow Lite puts its tensors: behind each convolution (behind its ReLU or ReLU6, which is fused; in
front of a leaky ReLU, which is an op of its own), behind activations, sums and so on. Layers that only move numbers
keep the scale of what they read, and all inputs of a concatenation have the scale of its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from convert.models.layers import Mish
from convert.quantize.graph import MOVING, followers, inputs_of, is_convolution, is_plain_relu, outputs_of

Range = tuple[float, float]

# Outputs whose int8 scale TensorFlow Lite fixes (8-bit quantisation specification, "Int8 quantized operator
# specifications": LOGISTIC, SOFTMAX and TANH).
_FIXED: dict[str, Range] = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}


@dataclass(frozen=True)
class TensorPlan:
    """The int8 tensors of a network.

    Attributes:
        points: Names of the layers whose result is an int8 tensor with a scale to be chosen; the input comes first.
        group: For each point the name of its scale group; tensors of one group share one scale.
        fixed: Ranges that cannot be chosen, by point.
        gaps: Layers whose inner tensors have no range here; the converter has to see pictures for them.
    """

    points: tuple[str, ...]
    group: Mapping[str, str]
    fixed: Mapping[str, Range]
    gaps: tuple[str, ...]

    @property
    def inner(self) -> tuple[str, ...]:
        """All points but the input."""
        return self.points[1:]

    def members(self) -> dict[str, list[str]]:
        """Points of each scale group."""
        members: dict[str, list[str]] = {}
        for point in self.points:
            members.setdefault(self.group[point], []).append(point)
        return members


def plan_tensors(model: keras.Model) -> TensorPlan:
    """Finds the int8 tensors of a functional model without batch normalisation."""
    walk = _Walk(outputs_of(model))
    for layer in model.layers:
        walk.visit(layer)
    group = {point: walk.root(point) for point in walk.points}
    return TensorPlan(tuple(walk.points), group, walk.fixed, tuple(walk.gaps))


class _Walk:
    """Points and groups while the graph is walked."""

    def __init__(self, ends: set[str]) -> None:
        self.ends = ends
        self.points: list[str] = []
        self.fixed: dict[str, Range] = {}
        self.gaps: list[str] = []
        # The point a layer's result belongs to, and the scale groups as a forest.
        self._point: dict[str, str] = {}
        self._parent: dict[str, str] = {}

    def root(self, point: str) -> str:
        while self._parent[point] != point:
            point = self._parent[point]
        return point

    def visit(self, layer: Any) -> None:
        name = layer.name
        if isinstance(layer, keras.layers.InputLayer):
            self._add(name)
        elif isinstance(layer, MOVING):
            self._point[name] = self._point[inputs_of(layer)[0]]
        elif isinstance(layer, keras.layers.Concatenate):
            first, *others = (self._point[source] for source in inputs_of(layer))
            for other in others:
                self._parent[self.root(other)] = self.root(first)
            self._point[name] = first
        elif not self._is_fused(layer):
            self._add(name)
            self._special(layer)

    def _add(self, name: str) -> None:
        self.points.append(name)
        self._point[name] = self._parent[name] = name

    def _special(self, layer: Any) -> None:
        if isinstance(layer, keras.layers.Activation):
            kind = layer.activation.__name__
            if kind in _FIXED:
                self.fixed[layer.name] = _FIXED[kind]
            elif kind not in ("linear", "relu", "relu6", "leaky_relu"):
                self.gaps.append(layer.name)
        elif isinstance(layer, Mish):
            self.gaps.append(layer.name)

    def _is_fused(self, layer: Any) -> bool:
        readers = followers(layer)
        fusing = is_convolution(layer) or isinstance(layer, keras.layers.Add)
        return fusing and layer.name not in self.ends and len(readers) == 1 and is_plain_relu(readers[0])
