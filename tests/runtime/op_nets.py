"""Small int8 networks put together op by op, for what the interpreter does with each op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.foreign_nets import ForeignNet

SCALE = 0.05


class Int8Net(ForeignNet):
    """A chain of ops; each method adds one behind the last.

    Args:
        shape: Of the input.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(dtype=np.int8, scale=SCALE, shape=shape)
        self.random = np.random.default_rng(0)
        self.last, self.shape = self.picture, tuple(shape)

    def add(self, kind: str, shape: Sequence[int], *constants: np.ndarray, options: Any = None, **how: Any) -> int:
        """Any op that reads the last tensor ``times`` times, then constants; returns the tensor it writes."""
        output = self.tensor(f"{kind.lower()}_{len(self.graph.operators)}", shape, np.int8, how.get("scale", SCALE))
        self.graph.tensors[output].quantization.zeroPoint = [how.get("zero_point", 0)]
        held = [
            self.constant(f"constant_{output}_{at}", values, SCALE if values.dtype == np.int8 else 0.0)
            for at, values in enumerate(constants)
        ]
        self.op(kind, [self.last] * how.get("times", 1) + held, [output], options)
        self.last, self.shape = output, tuple(shape)
        return output

    def conv(self, channels: int, size: int = 1, *, same: bool = True) -> int:
        """A convolution with stride 1."""
        options = schema.Conv2DOptionsT()
        options.padding, options.strideW, options.strideH = 0 if same else 1, 1, 1
        weights = self._weights(channels, size, size, self.shape[-1])
        return self._convolution("CONV_2D", channels, size, same, weights, options)

    def depthwise(self, size: int = 3, *, same: bool = True) -> int:
        """A depthwise convolution with stride 1."""
        options = schema.DepthwiseConv2DOptionsT()
        options.padding, options.strideW, options.strideH, options.depthMultiplier = 0 if same else 1, 1, 1, 1
        weights = self._weights(1, size, size, self.shape[-1])
        return self._convolution("DEPTHWISE_CONV_2D", self.shape[-1], size, same, weights, options)

    def double(self) -> int:
        """The last tensor plus itself: an op that XNNPACK takes, to stand before and behind another."""
        return self.add("ADD", self.shape, options=schema.AddOptionsT(), times=2)

    def pad(self) -> int:
        """One pixel of zeros on each side."""
        batch, height, width, depth = self.shape
        sides = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
        return self.add("PAD", (batch, height + 2, width + 2, depth), sides, options=schema.PadOptionsT())

    def _weights(self, *shape: int) -> np.ndarray:
        return self.random.integers(-9, 10, shape).astype(np.int8)

    def _convolution(self, kind: str, channels: int, size: int, same: bool, weights: np.ndarray, options: Any) -> int:
        less = 0 if same else size - 1
        shape = (1, self.shape[1] - less, self.shape[2] - less, channels)
        output = self.tensor(f"{kind.lower()}_{len(self.graph.operators)}", shape, np.int8, SCALE)
        bias = self.constant(f"bias_{output}", np.zeros(channels, np.int32), SCALE * SCALE)
        held = self.constant(f"weights_{output}", weights, SCALE)
        self.op(kind, [self.last, held, bias], [output], options)
        self.last, self.shape = output, shape
        return output
