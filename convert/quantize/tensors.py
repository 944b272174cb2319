"""Which tensors of a network become int8, and which of them share one scale.

This is where TensorFlow Lite puts its tensors: behind each convolution (behind its ReLU or ReLU6, which is fused; in
front of a leaky ReLU, which is an op of its own), behind activations, sums and so on. Layers that only move numbers
keep the scale of what they read, and all inputs of a concatenation have the scale of its output. Where that cannot be,
because one of them has a scale of its own (the picture, a sigmoid), that one is converted in front of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from convert.quantize.graph import MOVING, followers, inputs_of, is_convolution, is_plain_relu, keeps_scale, outputs_of

Range = tuple[float, float]

# Outputs whose int8 scale TensorFlow Lite fixes (8-bit quantisation specification, "Int8 quantized operator
# specifications": LOGISTIC, SOFTMAX and TANH).
_FIXED: dict[str, Range] = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}

# Layers that are one op, whose result is their only int8 tensor.
_SINGLE = (
    keras.layers.InputLayer,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
    keras.layers.Add,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.GlobalAveragePooling2D,
)


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
        elif keeps_scale(layer):
            self._add(name)
            self._join(self._point[inputs_of(layer)[0]], name)
        elif isinstance(layer, keras.layers.Concatenate):
            self._concatenate(name, [self._point[source] for source in inputs_of(layer)])
        elif not self._is_fused(layer):
            self._add(name)
            self._special(layer)

    def _add(self, name: str) -> None:
        self.points.append(name)
        self._point[name] = self._parent[name] = name

    def _join(self, point: str, other: str) -> None:
        self._parent[self.root(other)] = self.root(point)

    def _concatenate(self, name: str, sources: list[str]) -> None:
        """One scale for all that may have it."""
        scales = {self._pinned(source) for source in sources}
        free = [source for source in sources if len(scales) == 1 or not self._pinned(source)]
        if len(scales) == 1:
            self._point[name] = sources[0]
        else:
            self._add(name)
            free.insert(0, name)
        for other in free[1:]:
            self._join(free[0], other)

    def _pinned(self, point: str) -> Range | str | None:
        """What tells a scale that is given from others; ``None`` for one that may be chosen."""
        root = self.root(point)
        return root if root == self.points[0] else self.fixed.get(root)

    def _special(self, layer: Any) -> None:
        """Scales that are given, and layers that are several ops."""
        kind = "softmax" if isinstance(layer, keras.layers.Softmax) else ""
        if isinstance(layer, keras.layers.Activation):
            kind = getattr(layer.activation, "__name__", "")
        if kind in _FIXED:
            self.fixed[layer.name] = _FIXED[kind]
        elif isinstance(layer, keras.layers.ReLU):
            if layer.max_value not in (None, 6.0) or layer.threshold:
                self.gaps.append(layer.name)
        elif kind not in ("linear", "leaky_relu") and not isinstance(layer, _SINGLE):
            self.gaps.append(layer.name)

    def _is_fused(self, layer: Any) -> bool:
        readers = followers(layer)
        fusing = is_convolution(layer) or isinstance(layer, keras.layers.Add)
        return fusing and layer.name not in self.ends and len(readers) == 1 and is_plain_relu(readers[0])
