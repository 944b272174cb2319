"""What each kind of layer does to channels.

A rule takes the layer, the channels of each input (last axis) and the forest, and gives the channels of the result.
Layers nobody wrote a rule for keep all channels they touch, and say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from convert.models.layers import ChannelGroup, EdgePadding, Mish, NearestUpsample
from convert.prune.forest import Forest, Ids

Rule = Callable[[Forest, Any, Sequence[Ids]], Ids]

layers = keras.layers
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
# Layers whose weights make channels out of channels.
MAKERS = (*CONVOLUTIONS, *TRANSPOSED, *SEPARABLE, layers.Dense)

_KEEPING = (
    *(layers.ReLU, layers.LeakyReLU, layers.ELU, layers.PReLU, layers.Dropout, layers.SpatialDropout1D),
    *(layers.SpatialDropout2D, layers.SpatialDropout3D, layers.GaussianNoise, layers.GaussianDropout),
    *(layers.ActivityRegularization, layers.Resizing, layers.Identity),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D),
    *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
    *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
    *(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D),
    *(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D),
    *(NearestUpsample, EdgePadding, Mish),
)
_ELEMENTWISE = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
# keras.ops in a functional model are operations without weights; by class name, since Keras does not export them.
_ELEMENTWISE_OPS = {"Add", "Subtract", "Multiply", "Maximum", "Minimum"}
_KEEPING_OPS = {
    "Relu",
    "Relu6",
    "Sigmoid",
    "HardSigmoid",
    "Silu",
    "HardSilu",
    "Tanh",
    "LeakyRelu",
    "Negative",
    "Absolute",
}
_MIXING = {"softmax", "log_softmax", "sparsemax", "glu"}


def visit(forest: Forest, operation: Any, inputs: Sequence[Ids]) -> Ids:
    """The channels of a result, given those of the inputs; joins and freezes on the way."""
    for kinds, rule in _RULES:
        if isinstance(operation, kinds):
            return rule(forest, operation, inputs)
    if type(operation).__module__.startswith("keras.src.ops"):
        return _operation(forest, operation, inputs)
    return _unknown(forest, operation, inputs, f"is a {type(operation).__name__}, whose channels are not followed")


def _keep(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return _unknown(forest, layer, inputs, "has its channels first")
    return inputs[0]


def _unknown(forest: Forest, operation: Any, inputs: Sequence[Ids], reason: str) -> Ids:
    text = f"{operation.name} {reason}"
    for each in inputs:
        forest.freeze(each, text)
    made = forest.grow(_width(operation))
    forest.freeze(made, text)
    return made


def _width(operation: Any) -> int:
    output = keras.tree.flatten(operation.output)[0]
    return int(output.shape[-1] or 1) if len(output.shape) > 1 else 1


def _input(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    made = forest.grow(_width(layer))
    forest.freeze(made, f"{layer.name} is the network's input")
    return made


def _convolution(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if layer.data_format == "channels_first":
        return _unknown(forest, layer, inputs, "has its channels first")
    if (reason := _mixing(layer)) is not None:
        return _unknown(forest, layer, inputs, reason)
    made = forest.grow(layer.filters)
    groups = getattr(layer, "groups", 1)
    if groups > 1:
        # A group goes as a whole: its filters see nothing but its own inputs.
        for before, after in zip(np.split(inputs[0], groups), np.split(made, groups), strict=True):
            forest.merge(np.concatenate([before, after]))
    return made


def _mixing(layer: Any) -> str | None:
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return f"ends in {activation}, which mixes channels" if activation in _MIXING else None


def _depthwise(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if layer.data_format == "channels_first":
        return _unknown(forest, layer, inputs, "has its channels first")
    if (reason := _mixing(layer)) is not None:
        return _unknown(forest, layer, inputs, reason)
    return np.repeat(inputs[0], layer.depth_multiplier)


def _dense(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if (reason := _mixing(layer)) is not None:
        # What it reads may still go: only what it makes is mixed.
        made = forest.grow(layer.units)
        forest.freeze(made, f"{layer.name} {reason}")
        return made
    return forest.grow(layer.units)


def _activation(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if (reason := _mixing(layer)) is not None:
        return _unknown(forest, layer, inputs, reason)
    return inputs[0]


def _norm(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    rank = len(layer.output.shape)
    if layer.axis not in (-1, rank - 1):
        return _unknown(forest, layer, inputs, f"normalises axis {layer.axis}, not the last")
    return inputs[0]


def _rescaling(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        return _unknown(forest, layer, inputs, "has a factor for each channel")
    return inputs[0]


def _elementwise(forest: Forest, operation: Any, inputs: Sequence[Ids]) -> Ids:
    shapes = {len(tensor.shape) for tensor in keras.tree.flatten(operation.input)}
    width = max(len(each) for each in inputs)
    if len(shapes) > 1 or any(len(each) not in (1, width) for each in inputs):
        return _unknown(forest, operation, inputs, "joins tensors of different ranks")
    wide = [each for each in inputs if len(each) == width]
    for each in inputs:
        if len(each) != width:
            forest.freeze(each, f"{operation.name} spreads it over {width} channels")
    for other in wide[1:]:
        forest.join(wide[0], other)
    return wide[0]


def _concatenate(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    rank = len(keras.tree.flatten(layer.output)[0].shape)
    if layer.axis in (-1, rank - 1):
        return np.concatenate(list(inputs))
    for other in inputs[1:]:
        forest.join(inputs[0], other)
    return inputs[0]


def _flatten(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return _unknown(forest, layer, inputs, "has its channels first")
    # Rows of pixels, the channels of a pixel side by side.
    return np.tile(inputs[0], _width(layer) // len(inputs[0]))


def _reshape(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    width = _width(layer)
    if width % len(inputs[0]):
        return _unknown(forest, layer, inputs, "takes channels apart")
    return np.tile(inputs[0], width // len(inputs[0]))


def _permute(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    if layer.dims[-1] != len(layer.dims):
        return _unknown(forest, layer, inputs, "moves the channels to another axis")
    return inputs[0]


def _channel_group(forest: Forest, layer: Any, inputs: Sequence[Ids]) -> Ids:
    # Parts stay equal: the same place leaves in all of them.
    parts = np.split(inputs[0], layer.groups)
    for other in parts[1:]:
        forest.join(parts[0], other)
    part: Ids = parts[layer.group_id]
    return part


def _operation(forest: Forest, operation: Any, inputs: Sequence[Ids]) -> Ids:
    name = type(operation).__name__
    if name in _ELEMENTWISE_OPS and len(inputs) > 1:
        return _elementwise(forest, operation, inputs)
    if name in _ELEMENTWISE_OPS and _scalar_operand(operation):
        return inputs[0]
    if name == "Concatenate":
        return _concatenate(forest, operation, inputs)
    if name in _KEEPING_OPS:
        return inputs[0]
    return _unknown(forest, operation, inputs, f"is keras.ops' {name}, whose channels are not followed")


def _scalar_operand(operation: Any) -> bool:
    """Whether what an operation of one tensor takes besides is a number, not one for each channel."""
    node = operation._inbound_nodes[0]
    others = [each for each in keras.tree.flatten((node.arguments.args, node.arguments.kwargs)) if each is not None]
    return all(np.ndim(each) == 0 for each in others if not isinstance(each, keras.KerasTensor))


_RULES: tuple[tuple[tuple[type, ...], Rule], ...] = (
    ((layers.InputLayer,), _input),
    # A depthwise convolution is no subclass of a convolution, a transposed one is none either.
    (DEPTHWISE, _depthwise),
    ((*TRANSPOSED, *SEPARABLE, *CONVOLUTIONS), _convolution),
    ((layers.Dense,), _dense),
    ((layers.BatchNormalization,), _norm),
    ((layers.Activation,), _activation),
    ((layers.Rescaling,), _rescaling),
    (_ELEMENTWISE, _elementwise),
    ((layers.Concatenate,), _concatenate),
    ((layers.Flatten,), _flatten),
    ((layers.Reshape,), _reshape),
    ((layers.Permute,), _permute),
    ((ChannelGroup,), _channel_group),
    (_KEEPING, _keep),
)
