"""What each kind of layer does to channels.

Layers nobody wrote a rule for keep all channels they touch, and say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from convert.models.layers import ChannelGroup, EdgePadding, Mish, NearestUpsample
from convert.prune.flow import Rule, channels, concatenate, elementwise, on_channels, reshape, split, unknown
from convert.prune.forest import Forest, Ids
from convert.prune.operations import visit_operation

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
    *(layers.AlphaDropout, layers.ActivityRegularization, layers.Resizing, layers.Identity, layers.RepeatVector),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D),
    *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D),
    *(layers.AdaptiveMaxPooling1D, layers.AdaptiveMaxPooling2D, layers.AdaptiveMaxPooling3D),
    *(layers.AdaptiveAveragePooling1D, layers.AdaptiveAveragePooling2D, layers.AdaptiveAveragePooling3D),
    *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
    *(layers.Cropping1D, layers.Cropping2D, layers.Cropping3D),
    *(layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D),
    *(NearestUpsample, EdgePadding, Mish),
)
_ELEMENTWISE = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
# Functions that look at each number by itself.
_SEPARATE_NAMES = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "exponential", "tanh"),
    *("sigmoid", "hard_sigmoid", "log_sigmoid", "sparse_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "softplus"),
    *("softsign", "soft_shrink", "sparse_plus", "squareplus", "tanh_shrink", "threshold"),
)
_SEPARATE = [
    function
    for module in (keras.activations, keras.ops)
    for name in _SEPARATE_NAMES
    if (function := getattr(module, name, None)) is not None
]


def visit(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    """What happens to channels where an operation is applied.

    Args:
        forest: Where channels are joined and frozen on the way.
        node: The place, a Keras node.
        inputs: Channels of each tensor it takes.

    Returns:
        The channels of its results, side by side.
    """
    operation, name = node.operation, node.operation.name
    # A sub-class from elsewhere may compute anything.
    ours = type(operation).__module__.partition(".")[0] in ("keras", "convert")
    if ours and not isinstance(operation, keras.Layer):
        return visit_operation(forest, node, inputs)
    rule = next((rule for kinds, rule in _RULES if ours and isinstance(operation, kinds)), None)
    if rule is None:
        return unknown(forest, node, inputs, f"is a {type(operation).__name__}, whose channels are not followed")
    if rule not in (elementwise, concatenate):
        for each in inputs[1:]:
            forest.freeze(each, f"{name} reads it as something else than channels, such as a mask")
    return rule(forest, node, inputs)


def tied(operation: Any) -> bool:
    """Whether applying an operation twice ties both places: its weights or shape are for certain channels."""
    reshapes = isinstance(operation, layers.Reshape) or type(operation).__name__ == "Reshape"
    return reshapes or bool(getattr(operation, "weights", ()))


def _keep(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if _channels_first(node.operation):
        return unknown(forest, node, inputs, "has its channels first")
    shape = getattr(node.operation, "noise_shape", None)
    if shape is not None and shape[-1] not in (None, 1):
        return unknown(forest, node, inputs, "drops by a shape with a fixed number of channels")
    return inputs[0]


def _channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _input(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    return unknown(forest, node, inputs, "is an input of the network")


def _maker(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    """Dense layers and all convolutions but depthwise ones."""
    layer = node.operation
    if _channels_first(layer):
        return unknown(forest, node, inputs, "has its channels first")
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return unknown(forest, node, inputs, "has weights of another form (LoRA or quantised)")
    made = forest.grow(channels(node.output_tensors[0]))
    if (reason := _mixing(layer.activation)) is not None:
        # What it reads may still go: only what it makes is mixed.
        forest.freeze(made, f"{layer.name} {reason}")
    groups = getattr(layer, "groups", 1)
    if groups > 1:
        # A group goes as a whole: its filters see nothing but its own inputs.
        for before, after in zip(np.split(inputs[0], groups), np.split(made, groups), strict=True):
            forest.merge(np.concatenate([before, after]))
    return made


def _mixing(activation: Any) -> str | None:
    """Why an activation might not keep channels apart."""
    if isinstance(activation, layers.Activation):
        activation = activation.activation
    separate = (layers.ReLU, layers.LeakyReLU, layers.ELU, Mish)
    if activation is None or any(activation is each for each in _SEPARATE) or type(activation) in separate:
        return None
    name = getattr(activation, "__name__", type(activation).__name__)
    return f"ends in {name}, which may mix channels"


def _depthwise(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    layer = node.operation
    if _channels_first(layer):
        return unknown(forest, node, inputs, "has its channels first")
    if (reason := _mixing(layer.activation)) is not None:
        return unknown(forest, node, inputs, reason)
    return np.repeat(inputs[0], layer.depth_multiplier)


def _activation(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if (reason := _mixing(node.operation)) is not None:
        return unknown(forest, node, inputs, reason)
    return inputs[0]


def _norm(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if not on_channels(node.operation.axis, node.output_tensors[0]):
        return unknown(forest, node, inputs, f"normalises axis {node.operation.axis}, not the last")
    return inputs[0]


def _rescaling(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if np.ndim(node.operation.scale) or np.ndim(node.operation.offset):
        return unknown(forest, node, inputs, "has a factor for each channel")
    return inputs[0]


def _flatten(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if _channels_first(node.operation):
        return unknown(forest, node, inputs, "has its channels first")
    return reshape(forest, node, inputs)


def _permute(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    if node.operation.dims[-1] != len(node.operation.dims):
        return unknown(forest, node, inputs, "moves the channels to another axis")
    return inputs[0]


def _channel_group(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    part: Ids = split(forest, inputs, node.operation.groups)[node.operation.group_id]
    return part


_RULES: tuple[tuple[tuple[type, ...], Rule], ...] = (
    ((layers.InputLayer,), _input),
    # A depthwise convolution is no subclass of a convolution, a transposed one is none either.
    (DEPTHWISE, _depthwise),
    (MAKERS, _maker),
    ((layers.BatchNormalization,), _norm),
    ((layers.Activation,), _activation),
    ((layers.Rescaling,), _rescaling),
    (_ELEMENTWISE, elementwise),
    ((layers.Concatenate,), concatenate),
    ((layers.Flatten,), _flatten),
    ((layers.Reshape,), reshape),
    ((layers.Permute,), _permute),
    ((ChannelGroup,), _channel_group),
    (_KEEPING, _keep),
)
