"""How much work an op is: multiply-accumulates, bytes, and the shape of its matrix product."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runtime.profile.facts import NodeFact, TensorFact

Kind = Literal["gemm", "depthwise", "elementwise", "resize", "pool", "layout", "format", "other"]

_KINDS: dict[Kind, tuple[str, ...]] = {
    "gemm": ("CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"),
    "depthwise": ("DEPTHWISE_CONV_2D",),
    "elementwise": (
        *("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "LOGISTIC", "TANH", "RELU", "RELU6", "LEAKY_RELU"),
        *("PRELU", "HARD_SWISH", "EXP", "LOG", "ABS", "SQUARE", "SQRT", "RSQRT", "NEG", "ELU", "GELU", "SOFTMAX"),
    ),
    "resize": ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "DEPTH_TO_SPACE", "TILE"),
    "pool": ("MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"),
    "layout": (
        *("CONCATENATION", "RESHAPE", "TRANSPOSE", "PAD", "PADV2", "MIRROR_PAD", "SPLIT", "SPLIT_V", "SLICE"),
        *("STRIDED_SLICE", "SPACE_TO_DEPTH", "SQUEEZE", "EXPAND_DIMS", "PACK", "UNPACK", "BROADCAST_TO"),
    ),
    "format": ("QUANTIZE", "DEQUANTIZE", "CAST"),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}


@dataclass(frozen=True)
class Gemm:
    """The matrix product a convolution is: ``m`` pixels, ``n`` output channels, ``k`` terms, in each group."""

    m: int
    n: int
    k: int
    groups: int = 1


@dataclass(frozen=True)
class Work:
    """What an op has to do.

    Attributes:
        kind: The family its cost is compared in.
        macs: Multiply-accumulates of convolutions and matrix products; 0 for other ops (recurrent and 3-D ones among
            them). Products with padding count, as is usual.
        bytes: Of all inputs, weights and outputs, each counted once.
        gemm: Of a convolution that is not depthwise, or a fully connected layer.
    """

    kind: Kind
    macs: int
    bytes: int
    gemm: Gemm | None


def work(node: NodeFact, tensors: Mapping[str, TensorFact]) -> Work:
    """How much work an op is, by the shapes of its tensors."""
    inputs = [tensors[str(index)] for index in node.inputs]
    outputs = [tensors[str(index)] for index in node.outputs]
    moved = [tensors[str(index)] for index in {*node.inputs, *node.outputs}]
    size = sum(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in moved)
    shapes, out = [tensor.shape for tensor in inputs], outputs[0].shape if outputs else ()
    gemm = _gemm(node.name, shapes, out)
    if gemm:
        macs = gemm.m * gemm.n * gemm.k * gemm.groups
    elif node.name == "DEPTHWISE_CONV_2D":
        # Weights are (1, height, width, channels): every output number is one window of one channel.
        macs = math.prod(out) * shapes[1][1] * shapes[1][2]
    else:
        macs = 0
    return Work(_KIND_OF.get(node.name, "other"), macs, size, gemm)


def _gemm(name: str, inputs: list[tuple[int, ...]], out: tuple[int, ...]) -> Gemm | None:
    if name == "CONV_2D":
        columns, height, width, depth = inputs[1]
        groups = max(1, inputs[0][-1] // max(1, depth))
        return Gemm(math.prod(out[:-1]), columns // groups, height * width * depth, groups)
    if name == "FULLY_CONNECTED":
        columns, terms = inputs[1]
        return Gemm(math.prod(out) // max(1, columns), columns, terms)
    if name == "TRANSPOSE_CONV":
        columns, height, width, depth = inputs[1]
        return Gemm(math.prod(inputs[2][:-1]), columns * height * width, depth)
    if name == "BATCH_MATMUL" and len(out) >= 2:
        # Either side may be transposed, which the shapes do not tell; the common length follows from the three areas.
        batch = math.prod(out[:-2])
        left, right = (math.prod(shape[-2:]) for shape in inputs[:2])
        return Gemm(out[-2], out[-1], math.isqrt(left * right // max(1, math.prod(out[-2:]))), batch)
    return None
