"""Darknet sections to a Keras 3 functional model.

Each ``_layer`` function turns one section into Keras layers and takes its numbers from the weights file. Arithmetic
follows Darknet's C code (https://github.com/AlexeyAB/darknet, ``src/*_layer.c``); the comments name the places where
Keras would do something else on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from convert.importers.darknet.cfg import Section
from convert.importers.darknet.weights import WeightsReader
from convert.models.layers import ChannelGroup, EdgePadding, Mish, NearestUpsample
from runtime.card import HeadSpec
from runtime.errors import InputError

# Darknet divides by sqrt(variance) + 1e-6; Keras's 1e-3 or TensorFlow's 1e-5 shift the heads visibly.
_BATCH_NORM_EPSILON = 1e-6
# What rounding may leave of a variance of 0; of more Darknet itself makes no number.
_NEGATIVE = 1e-5
_LEAKY_SLOPE = 0.1

# Options that change what a layer computes and are not implemented: an error is better than a wrong net.
_UNSUPPORTED_OPTIONS = {
    "convolutional": (
        "antialiasing",
        "binary",
        "xnor",
        "flipped",
        "sway",
        "rotate",
        "stretch",
        "stretch_sway",
        "deform",
        "share_index",
    ),
    "maxpool": ("antialiasing", "maxpool_depth"),
    "shortcut": ("weights_type",),
    "upsample": ("reverse",),
    "yolo": ("new_coords",),
}


@dataclass
class Network:
    """The net while it grows.

    Attributes:
        image: The input tensor.
        weights: Where the numbers come from.
        outputs: Output tensor of each Darknet layer, by layer number.
        heads: Raw head tensor, its specification and class count, per ``[yolo]``.
    """

    image: Any
    weights: WeightsReader
    outputs: list[Any] = field(default_factory=list)
    heads: list[tuple[Any, HeadSpec, int]] = field(default_factory=list)

    def previous(self) -> Any:
        """The tensor that flows into the next layer."""
        return self.outputs[-1] if self.outputs else self.image

    def earlier(self, section: Section, key: str) -> list[Any]:
        """The tensors that ``layers=`` or ``from=`` points to; negative numbers count back from this layer."""
        section.required(key)
        found = []
        for reference in section.integers(key, ()):
            index = section.index + reference if reference < 0 else reference
            if not 0 <= index < section.index:
                raise InputError(
                    f"{section.where(key)} has {key}={section.text(key, '')}, which points to layer {index}",
                    f"expected a layer before this one (0..{section.index - 1})",
                )
            found.append(self.outputs[index])
        return found


def build(sections: list[Section], weights: WeightsReader, width: int, height: int) -> Network:
    """Builds the layers after ``[net]``.

    Args:
        sections: What :func:`~convert.importers.darknet.cfg.read_cfg` returned.
        weights: The numbers, read in section order.
        width: Input width in pixels.
        height: Input height in pixels.

    Raises:
        InputError: An unknown layer or option, sizes that do not fit, or weights that do not fit.
    """
    network = Network(keras.Input((height, width, 3), batch_size=1, name="image"), weights)
    for section in sections[1:]:
        layer = _LAYERS.get(section.kind)
        if layer is None:
            raise InputError(
                f"{section.where()} (layer {section.index}) at byte {weights.offset} of the weights is not supported",
                "expected one of " + ", ".join(f"[{kind}]" for kind in _LAYERS if kind != "conv"),
            )
        for option in _UNSUPPORTED_OPTIONS.get(section.kind, ()):
            if section.text(option, "0") not in ("0", "none"):
                raise InputError(
                    f"{section.where(option)} has {option}={section.text(option, '')}",
                    "this option changes the result and is not supported",
                )
        network.outputs.append(layer(network, section))
    weights.finish(sections[-1])
    return network


def _name(section: Section, role: str) -> str:
    return f"{role}_{section.index}"


def _convolutional(network: Network, section: Section) -> Any:
    x = network.previous()
    channels = x.shape[-1]
    filters = section.integer("filters", 1, low=1)
    size = section.integer("size", 1, low=1, high=255)
    groups = section.integer("groups", 1, low=1)
    if channels % groups or filters % groups:
        raise InputError(
            f"{section.where('groups')} has groups={groups} for {channels} channels in and {filters} out",
            "expected a divisor of both",
        )
    normalised = bool(section.integer("batch_normalize", 0))
    biases = network.weights.take(section, "biases", (filters,))
    norm = [network.weights.take(section, role, (filters,)) for role in _NORM_ROLES] if normalised else []
    kernel = network.weights.take(section, "weights", (filters, channels // groups, size, size))

    x, arguments = _pad(network, section, x, size)
    depthwise = groups == channels and groups > 1
    if not depthwise and arguments["dilation_rate"] > 1 and max(arguments["strides"]) > 1:
        # Keras has no such layer, though Darknet has.
        seen = f"stride={max(arguments['strides'])} with dilation={arguments['dilation_rate']}"
        raise InputError(f"{section.where('dilation')} has {seen}", "expected one of them to be 1")
    arguments |= {"use_bias": not normalised, "name": _name(section, "conv")}
    bias = [] if normalised else [biases]
    if depthwise:
        multiplier = filters // groups
        layer = keras.layers.DepthwiseConv2D(size, depth_multiplier=multiplier, **arguments)
        kernel = kernel.reshape(channels, multiplier, size, size).transpose(2, 3, 0, 1)
    else:
        layer = keras.layers.Conv2D(filters, size, groups=groups, **arguments)
        kernel = kernel.transpose(2, 3, 1, 0)
    x = layer(x)
    layer.set_weights([kernel, *bias])
    if normalised:
        norm_layer = keras.layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=_name(section, "norm"))
        x = norm_layer(x)
        scales, mean, variance = norm
        if variance.min() < -_NEGATIVE:
            raise InputError(
                f"{section.where()} (layer {section.index}) has a batch norm variance of {variance.min():g}",
                "expected none below 0",
                "give the .weights file that belongs to this .cfg",
            )
        norm_layer.set_weights([scales, biases, mean, np.maximum(variance, 0)])
    # Darknet's default for [convolutional] is logistic, for every other layer linear.
    return _activate(section, x, "logistic")


_NORM_ROLES = ("batch norm scales", "batch norm means", "batch norm variances")


def _strides(section: Section, default: int) -> tuple[int, int]:
    stride = section.integer("stride", default, low=1, high=64)
    return section.integer("stride_y", stride, low=1, high=64), section.integer("stride_x", stride, low=1, high=64)


def _pad(network: Network, section: Section, x: Any, size: int) -> tuple[Any, dict[str, Any]]:
    """Darknet's symmetric padding: by Keras's ``same`` where that is equal, else by an explicit layer."""
    padding = section.integer("padding", 0, high=255)
    if section.integer("pad", 0):
        padding = size // 2
    strides = _strides(section, 1)
    dilation = 1 if size == 1 else section.integer("dilation", 1, low=1, high=64)
    before, after, out = [], [], []
    for length, stride in zip(x.shape[1:3], strides, strict=True):
        count = (length + 2 * padding - size) // stride + 1
        if count < 1 or (dilation > 1 and 2 * padding != size - 1):
            raise InputError(
                f"{section.where()} has size={size} padding={padding} dilation={dilation} on {x.shape[2]}x{x.shape[1]}",
                "expected a window that fits",
            )
        reach = (count - 1) * stride + (size - 1) * dilation + 1
        before.append(padding * dilation)
        after.append(max(0, reach - length - padding * dilation))
        out.append((length, stride, count, reach))
    arguments = {"strides": strides, "dilation_rate": dilation, "padding": "valid"}
    if not any(before) and not any(after):
        return x, arguments
    if all(_same_is_symmetric(*dimension, before[i]) for i, dimension in enumerate(out)):
        return x, arguments | {"padding": "same"}
    rows, columns = zip(before, after, strict=True)
    return keras.layers.ZeroPadding2D((rows, columns), name=_name(section, "pad"))(x), arguments


def _same_is_symmetric(length: int, stride: int, count: int, reach: int, before: int) -> bool:
    """Whether ``same`` padding gives Darknet's output size and starts at the same pixel."""
    total = max(0, reach - length)
    return count == -(-length // stride) and total // 2 == before


def _activate(section: Section, x: Any, default: str = "linear") -> Any:
    activation = section.text("activation", default)
    if activation not in _ACTIVATIONS:
        raise InputError(
            f"{section.where('activation')} has activation={activation}",
            "expected one of " + ", ".join(_ACTIVATIONS),
        )
    make = _ACTIVATIONS[activation]
    return make(_name(section, activation))(x) if make else x


_ACTIVATIONS: dict[str, Callable[[str], Any] | None] = {
    "leaky": lambda name: keras.layers.LeakyReLU(negative_slope=_LEAKY_SLOPE, name=name),
    "relu": lambda name: keras.layers.ReLU(name=name),
    "relu6": lambda name: keras.layers.ReLU(max_value=6.0, name=name),
    "linear": None,
    "logistic": lambda name: keras.layers.Activation("sigmoid", name=name),
    "mish": lambda name: Mish(name=name),
    "swish": lambda name: keras.layers.Activation("silu", name=name),
}


def _maxpool(network: Network, section: Section) -> Any:
    x = network.previous()
    strides = _strides(section, 1)
    size = section.integer("size", strides[1], low=1, high=255)
    # Darknet counts both sides together, here and not in a convolution, and puts the odd pixel behind.
    padding = section.integer("padding", size - 1, high=255)
    before, after, same = [], [], True
    for length, stride in zip(x.shape[1:3], strides, strict=True):
        count = (length + padding - size) // stride + 1
        if count < 1 or padding >= size:
            raise InputError(
                f"{section.where()} has size={size} padding={padding} on {x.shape[2]}x{x.shape[1]}",
                "expected a window that fits, and padding smaller than it",
            )
        reach = (count - 1) * stride + size
        before.append(padding // 2)
        after.append(max(0, reach - length - padding // 2))
        same &= _same_is_symmetric(length, stride, count, reach, before[-1])
    if not same and (any(before) or any(after)):
        x = EdgePadding((before[0], before[1]), (after[0], after[1]), name=_name(section, "pad"))(x)
    mode = "same" if same else "valid"
    return keras.layers.MaxPooling2D(size, strides, mode, name=_name(section, "pool"))(x)


def _route(network: Network, section: Section) -> Any:
    parts = network.earlier(section, "layers")
    groups = section.integer("groups", 1, low=1)
    group_id = section.integer("group_id", 0, high=groups - 1)
    if any(part.shape[1:3] != parts[0].shape[1:3] for part in parts):
        sizes = ", ".join(f"{part.shape[2]}x{part.shape[1]}" for part in parts)
        raise InputError(f"{section.where('layers')} joins layers of {sizes}", "expected equal sizes")
    if groups > 1:
        if any(part.shape[-1] % groups for part in parts):
            channels = ", ".join(str(part.shape[-1]) for part in parts)
            raise InputError(f"{section.where('groups')} splits {channels} channels in {groups}", "expected a divisor")
        parts = [ChannelGroup(groups, group_id, name=_part(section, i))(part) for i, part in enumerate(parts)]
    return parts[0] if len(parts) == 1 else _concatenate(parts, _name(section, "route"))


def _part(section: Section, index: int) -> str:
    return f"group_{section.index}_{index}"


def _concatenate(parts: list[Any], name: str) -> Any:
    """Joins channels, at most five tensors at a time: XNNPACK leaves a wider CONCATENATION out."""
    level = 0
    while len(parts) > 5:
        chunks = [parts[i : i + 5] for i in range(0, len(parts), 5)]
        parts = [
            keras.layers.Concatenate(name=f"{name}_{level}_{i}")(chunk) if len(chunk) > 1 else chunk[0]
            for i, chunk in enumerate(chunks)
        ]
        level += 1
    return keras.layers.Concatenate(name=name)(parts)


def _shortcut(network: Network, section: Section) -> Any:
    x = network.previous()
    parts = [x, *network.earlier(section, "from")]
    if any(part.shape != x.shape for part in parts):
        shapes = ", ".join("x".join(map(str, part.shape[1:])) for part in parts)
        raise InputError(f"{section.where('from')} adds layers of {shapes}", "expected equal shapes")
    for key in ("alpha", "beta"):
        if section.number(key, 1.0) != 1.0:
            seen = f"{section.where(key)} has {key}={section.text(key, '')}"
            raise InputError(seen, "expected 1: other factors change the result and are not supported")
    x = keras.layers.Add(name=_name(section, "add"))(parts)
    return _activate(section, x)


def _upsample(network: Network, section: Section) -> Any:
    stride = section.integer("stride", 2, low=1, high=32)
    if stride & (stride - 1) or section.number("scale", 1.0) != 1.0:
        raise InputError(
            f"{section.where('stride')} has stride={stride} scale={section.text('scale', '1')}",
            "expected a power of two, and scale 1",
        )
    x = network.previous()
    for step in range(stride.bit_length() - 1):
        x = NearestUpsample(name=f"{_name(section, 'upsample')}_{step}")(x)
    return x


def _dropout(network: Network, section: Section) -> Any:
    # Nothing at inference, but kept in the model: fine-tuning after pruning wants it.
    rate = min(max(section.number("probability", 0.5), 0.0), 0.99)
    return keras.layers.Dropout(rate, name=_name(section, "dropout"))(network.previous())


def _yolo(network: Network, section: Section) -> Any:
    x = network.previous()
    classes = section.integer("classes", 20, low=1)
    count = section.integer("num", 1, low=1)
    values = section.numbers("anchors", ())
    anchors = tuple(zip(values[::2], values[1::2], strict=False))
    mask = section.integers("mask", tuple(range(count)))
    if len(values) % 2 or any(not 0 <= i < len(anchors) for i in mask):
        raise InputError(
            f"{section.where('mask')} has {len(values)} anchor numbers and mask={','.join(map(str, mask))}",
            "expected pairs, and a mask that points into them",
        )
    scale = section.number("scale_x_y", 1.0)
    # Darknet takes these too, and then has no box with a width, or centres that run backwards.
    for key, seen in (("anchors", values), ("scale_x_y", (scale,))):
        if min(seen, default=1.0) <= 0:
            raise InputError(f"{section.where(key)} has {key}={section.text(key, '')}", "expected numbers above 0")
    wanted = len(mask) * (5 + classes)
    if x.shape[-1] != wanted:
        raise InputError(
            f"{section.where()} gets {x.shape[-1]} channels",
            f"expected {len(mask)} anchors x (5 + {classes} classes) = {wanted}",
            "set filters= of the layer before it",
        )
    stride = network.image.shape[1] // x.shape[1]
    if (x.shape[1] * stride, x.shape[2] * stride) != tuple(network.image.shape[1:3]):
        raise InputError(
            f"{section.where()} has a {x.shape[2]}x{x.shape[1]} grid on an input of "
            f"{network.image.shape[2]}x{network.image.shape[1]}",
            "expected one stride for both",
            "choose an input size that is a multiple of 32",
        )
    head = HeadSpec(stride, tuple(anchors[i] for i in mask), scale)
    network.heads.append((x, head, classes))
    return x


_LAYERS: dict[str, Callable[[Network, Section], Any]] = {
    "convolutional": _convolutional,
    "conv": _convolutional,
    "maxpool": _maxpool,
    "route": _route,
    "shortcut": _shortcut,
    "upsample": _upsample,
    "dropout": _dropout,
    "yolo": _yolo,
}
