"""Single-shot detectors on MobileNetV2: SSDLite, full SSD, and a small fused variant for one or two scales.

SSD (Liu et al., arXiv:1512.02325) predicts, for every cell of several feature maps and every anchor of that cell, four
box offsets and one logit per class. SSDLite (Sandler et al., arXiv:1801.04381, section 6.2) replaces the 3x3
convolutions of heads and extra layers by depthwise-separable ones.

Everything is convolution, ReLU6, addition and (in the fused neck) nearest upsampling, all of which XNNPACK takes; heads
stay raw and apart, one tensor per scale and kind, so that each gets its own int8 scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from convert.models.layers import NearestUpsample
from convert.models.mobilenet_v2 import conv_bn, depthwise_bn, make_divisible, mobilenet_v2
from runtime.card import HeadSpec

# Output channels of the extra layers behind the backbone, each halving the grid (arXiv:1801.04381's authors' code).
_EXTRAS = (512, 256, 256, 128)
# Aspect ratios: three anchors on the finest grid, six on the others (arXiv:1512.02325, section 3.1).
_FINEST_RATIOS = (1.0, 2.0, 0.5)
_RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)


@dataclass(frozen=True)
class SsdConfig:
    """The shape of a detector.

    Attributes:
        classes: Channels per anchor of the class heads; background included where the loss wants one.
        size: Height and width of the input in pixels.
        width: MobileNetV2's width multiplier.
        lite: Depthwise-separable heads and extra layers; otherwise plain 3x3 convolutions.
        neck: 0 for SSD's extra layers behind the backbone. Otherwise the channels of a neck that fuses strides 8, 16
            and 32 and has heads at strides 16 and 32 alone, for objects that are never tiny: less to compute, and
            the fine detail of stride 8 where it is needed.
        kernel: Kernel of the (depthwise) head convolutions.
        heads: Anchors per scale; empty for SSD's defaults.
    """

    classes: int
    size: int = 320
    width: float = 1.0
    lite: bool = True
    neck: int = 0
    kernel: int = 3
    heads: tuple[HeadSpec, ...] = ()


def ssd(config: SsdConfig) -> tuple[keras.Model, tuple[HeadSpec, ...]]:
    """Builds a detector.

    Returns:
        A Keras model ``(b, size, size, 3)`` to ``box, class, box, class, ...``, finest scale first: raw
        ``(b, rows, columns, anchors * 4)`` offsets and ``(b, rows, columns, anchors * classes)`` logits; and the
        anchors of each scale.

    Raises:
        ValueError: The number of heads is not the number of feature maps.
    """
    image = keras.Input((config.size, config.size, 3), name="image")
    if config.neck:
        features = _fused_neck(mobilenet_v2(image, config.width, top=False), config.neck)
    else:
        features = _extra_layers(mobilenet_v2(image, config.width), config)
    heads = config.heads or default_heads(config.size, len(features))
    if len(heads) != len(features):
        raise ValueError(f"{len(heads)} heads for {len(features)} feature maps")
    outputs = []
    for feature, head in zip(features, heads, strict=True):
        for kind, channels in (("box", 4), ("class", config.classes)):
            outputs.append(_head(feature, len(head.anchors) * channels, f"{kind}_{head.stride}", config, kind))
    return keras.Model(image, outputs, name="ssdlite" if config.lite else "ssd"), tuple(heads)


def default_heads(size: int, count: int = 6, low: float = 0.2, high: float = 0.95) -> tuple[HeadSpec, ...]:
    """SSD's anchors (arXiv:1512.02325, section 2.2).

    Args:
        size: Input pixels.
        count: Number of feature maps; the finest has stride 16, each other twice the one before.
        low: Smallest anchor as a share of the input; the finest grid has one of half that size too.
        high: Largest anchor as a share of the input.

    Returns:
        Per map, in input pixels: on the finest grid three anchors, on the others six, the sixth a square between its
        own scale and the next.
    """
    scales = [low + (high - low) * k / max(1, count - 1) for k in range(count)] + [1.0]
    heads = []
    for index in range(count):
        scale = scales[index]
        shapes = [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in _RATIOS]
        shapes.append((math.sqrt(scale * scales[index + 1]),) * 2)
        if index == 0:
            shapes = [(low / 2, low / 2)]
            shapes += [(low * math.sqrt(ratio), low / math.sqrt(ratio)) for ratio in _FINEST_RATIOS[1:]]
        heads.append(HeadSpec(16 << index, tuple((size * w, size * h) for w, h in shapes)))
    return tuple(heads)


def _extra_layers(taps: dict[str, Any], config: SsdConfig) -> list[Any]:
    """Feature maps at strides 16 and 32 of the backbone, then four that halve the grid each time."""
    features = [taps["block_13_expand_relu"], taps["out_relu"]]
    for index, channels in enumerate(_EXTRAS):
        channels = make_divisible(channels * min(config.width, 1.0))
        prefix = f"extra_{index}"
        x = _point(features[-1], channels // 2, f"{prefix}_squeeze", relu=True)
        if config.lite:
            x = _separable(x, channels, 3, prefix, stride=2)
        else:
            x = conv_bn(x, channels, 3, f"{prefix}_conv", f"{prefix}_conv_BN", f"{prefix}_conv_relu", stride=2)
        features.append(x)
    return features


def _fused_neck(taps: dict[str, Any], channels: int) -> list[Any]:
    """Strides 8, 16 and 32 meet at stride 16, and what comes of it goes down to stride 32 again."""
    deep = _point(taps["block_16_project_BN"], channels, "neck_32", relu=True)
    fine = depthwise_bn(taps["block_6_expand_relu"], 3, "neck_8_depthwise", "neck_8_depthwise_BN", stride=2)
    fine = _point(fine, channels, "neck_8")
    middle = _point(taps["block_13_expand_relu"], channels, "neck_16")
    middle = keras.layers.Add(name="neck_16_fine")([middle, fine])
    middle = keras.layers.Add(name="neck_16_add")([middle, NearestUpsample(name="neck_32_up")(deep)])
    middle = _separable(keras.layers.ReLU(6.0, name="neck_16_add_relu")(middle), channels, 5, "neck_out_16")
    down = depthwise_bn(middle, 3, "neck_down_depthwise", "neck_down_depthwise_BN", stride=2)
    down = keras.layers.Add(name="neck_32_add")([_point(down, channels, "neck_down"), deep])
    return [middle, _separable(keras.layers.ReLU(6.0, name="neck_32_add_relu")(down), channels, 5, "neck_out_32")]


def _point(x: Any, channels: int, name: str, relu: bool = False) -> Any:
    return conv_bn(x, channels, 1, name, f"{name}_BN", f"{name}_relu" if relu else "")


def _separable(x: Any, channels: int, kernel: int, name: str, stride: int = 1) -> Any:
    """Depthwise convolution and 1x1 convolution, each with normalisation and ReLU6."""
    x = depthwise_bn(x, kernel, f"{name}_depthwise", f"{name}_depthwise_BN", f"{name}_depthwise_relu", stride)
    return conv_bn(x, channels, 1, f"{name}_point", f"{name}_point_BN", f"{name}_point_relu")


def _head(feature: Any, channels: int, name: str, config: SsdConfig, kind: str) -> Any:
    """One raw output. Class logits start at a probability of 1 %: nearly every anchor is empty (arXiv:1708.02002)."""
    bias = keras.initializers.Constant(-math.log(99) if kind == "class" else 0.0)
    start = keras.initializers.RandomNormal(stddev=0.01)
    kernel = config.kernel
    if config.lite:
        feature = depthwise_bn(feature, kernel, f"{name}_depthwise", f"{name}_depthwise_BN", f"{name}_depthwise_relu")
        kernel = 1
    return keras.layers.Conv2D(
        channels, kernel, padding="same", name=name, kernel_initializer=start, bias_initializer=bias
    )(feature)
