"""What ``keras.ops`` in a functional model do to channels.

They are operations without weights, known here by the names of their classes: Keras does not export these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from convert.prune.flow import Rule, concatenate, elementwise, on_channels, reshape, split, unknown
from convert.prune.forest import Forest, Ids

_OF_SEVERAL = (
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "DivideNoNan", "Maximum", "Minimum", "Power", "Where"),
    *("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr"),
)
_OF_ONE = (
    *("Absolute", "Abs", "Negative", "Sign", "Square", "Sqrt", "Rsqrt", "Reciprocal", "Exp", "Expm1", "Log", "Log1p"),
    *("Floor", "Ceil", "Round", "Clip", "Sin", "Cos", "Tanh", "Erf", "Cast", "StopGradient", "Copy", "LogicalNot"),
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Silu", "HardSilu", "Sigmoid", "HardSigmoid"),
    *("LogSigmoid", "Softplus", "Softsign", "HardTanh", "TanhShrink", "SoftShrink", "HardShrink", "Threshold"),
    *("SparsePlus", "SparseSigmoid", "Squareplus"),
)
_POOLING = ("MaxPool", "AveragePool", "AdaptiveMaxPool", "AdaptiveAveragePool", "Resize")
_REDUCING = ("Mean", "Sum", "Max", "Min", "Amax", "Amin", "Prod", "Var", "Std", "Any", "All", "Logsumexp")


def visit_operation(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    """The channels of an operation's results."""
    name = type(node.operation).__name__
    if rule := _RULES.get(name):
        return rule(forest, node, inputs)
    return unknown(forest, node, inputs, f"is keras.ops' {name}, whose channels are not followed")


def _calculate(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if any(np.ndim(each) and np.shape(each)[-1] != 1 for each in _constants(node)):
        return unknown(forest, node, inputs, "takes a constant with a number for each channel")
    return elementwise(forest, node, inputs)


def _constants(node: Any) -> Iterator[Any]:
    """What an operation takes besides tensors. A list of numbers is a constant with one axis."""
    arguments, operation = node.arguments, node.operation
    limits = [getattr(operation, name, None) for name in ("x_min", "x_max")]
    for each in (*arguments.args, *arguments.kwargs.values(), *limits):
        if not any(isinstance(part, keras.KerasTensor) for part in keras.tree.flatten(each)):
            yield each


def _pool(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if (node.operation.data_format or keras.config.image_data_format()) == "channels_first":
        return unknown(forest, node, inputs, "has its channels first")
    return inputs[0]


def _reduce(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    tensor, axes = node.input_tensors[0], node.operation.axis
    axes = range(len(tensor.shape)) if axes is None else [axes] if isinstance(axes, int) else axes
    if any(on_channels(axis, tensor) for axis in axes):
        return unknown(forest, node, inputs, "makes one number of all channels")
    return inputs[0]


def _squeeze(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    tensor, axes = node.input_tensors[0], node.operation.axis
    axes = [axes] if isinstance(axes, int) else axes
    # Without axes it would take away a single channel that is left.
    if axes is None or any(on_channels(axis, tensor) for axis in axes):
        return unknown(forest, node, inputs, "may take the channel axis away")
    return inputs[0]


def _expand(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    axes = node.operation.axis
    if any(on_channels(axis, node.output_tensors[0]) for axis in ([axes] if isinstance(axes, int) else axes)):
        return unknown(forest, node, inputs, "puts an axis behind the channels")
    return inputs[0]


def _transpose(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    axes, tensor = node.operation.axes, node.input_tensors[0]
    if axes is None or not on_channels(axes[-1], tensor):
        return unknown(forest, node, inputs, "moves the channels to another axis")
    return inputs[0]


def _pad(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    width = node.operation.pad_width
    if len(width) != len(node.input_tensors[0].shape) or any(width[-1]):
        return unknown(forest, node, inputs, "adds channels")
    return inputs[0]


def _split(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    operation = node.operation
    if not on_channels(operation.axis, node.input_tensors[0]):
        return np.tile(inputs[0], len(node.output_tensors))
    if not isinstance(operation.indices_or_sections, int):
        return unknown(forest, node, inputs, "cuts the channels at fixed places")
    return np.concatenate(split(forest, inputs, operation.indices_or_sections))


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys((*_OF_SEVERAL, *_OF_ONE), _calculate),
    **dict.fromkeys(_POOLING, _pool),
    **dict.fromkeys(_REDUCING, _reduce),
    "Concatenate": concatenate,
    "Reshape": reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand,
    "Transpose": _transpose,
    "Pad": _pad,
    "Split": _split,
}
