"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al., arXiv:1801.04381).

Layer names, weight shapes and channel counts are those of ``keras.applications.MobileNetV2``, so its ImageNet weights
load by name. One thing differs: strided convolutions use ``padding="same"``, which for a 3x3 kernel with stride 2 pads
exactly as the explicit ZeroPadding2D over there, and leaves no PAD op for the device to run.
"""

from __future__ import annotations

from typing import Any

import keras

# Expansion, output channels, stride: table 2 of the paper, one row per block. Block 0 does not expand.
_BLOCKS = (
    (1, 16, 1),
    *((6, 24, 2), (6, 24, 1)),
    *((6, 32, 2), (6, 32, 1), (6, 32, 1)),
    *((6, 64, 2), (6, 64, 1), (6, 64, 1), (6, 64, 1)),
    *((6, 96, 1), (6, 96, 1), (6, 96, 1)),
    *((6, 160, 2), (6, 160, 1), (6, 160, 1)),
    (6, 320, 1),
)
# Keras's own, so that imported statistics mean the same.
_EPSILON = 1e-3
# Keras's 0.999 forgets too slowly for short trainings.
_MOMENTUM = 0.97


def mobilenet_v2(image: Any, width: float, top: bool = True) -> dict[str, Any]:
    """Builds the feature extractor.

    Args:
        image: Keras tensor ``(b, h, w, 3)``, normalised to about -1..1.
        width: Width multiplier (the paper's alpha) of every layer.
        top: Whether to add the last 1x1 convolution with its 1280 channels.

    Returns:
        Tensors that detectors read, by layer name: ``block_3_expand_relu`` (stride 4), ``block_6_expand_relu``
        (stride 8), ``block_13_expand_relu`` (stride 16), ``block_16_project_BN`` (stride 32) and, with ``top``,
        ``out_relu`` (stride 32).
    """
    taps: dict[str, Any] = {}
    x = conv_bn(image, make_divisible(32 * width), 3, "Conv1", "bn_Conv1", "Conv1_relu", stride=2)
    for index, (expansion, channels, stride) in enumerate(_BLOCKS):
        x = _inverted_residual(x, index, expansion, make_divisible(channels * width), stride, taps)
    taps["block_16_project_BN"] = x
    if top:
        last = make_divisible(1280 * width) if width > 1 else 1280
        taps["out_relu"] = conv_bn(x, last, 1, "Conv_1", "Conv_1_bn", "out_relu")
    return taps


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor`` that is at most 10 % smaller than asked for (as the authors' code does)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def conv_bn(x: Any, filters: int, kernel: int, name: str, norm: str, relu: str = "", stride: int = 1) -> Any:
    """Convolution, batch normalisation and, with a name for it, ReLU6."""
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _norm(x, norm, relu)


def depthwise_bn(x: Any, kernel: int, name: str, norm: str, relu: str = "", stride: int = 1) -> Any:
    """Depthwise convolution, batch normalisation and, with a name for it, ReLU6."""
    x = keras.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _norm(x, norm, relu)


def _norm(x: Any, norm: str, relu: str) -> Any:
    x = keras.layers.BatchNormalization(epsilon=_EPSILON, momentum=_MOMENTUM, name=norm)(x)
    return keras.layers.ReLU(6.0, name=relu)(x) if relu else x


def _inverted_residual(x: Any, index: int, expansion: int, channels: int, stride: int, taps: dict[str, Any]) -> Any:
    """Expand, filter depthwise, project; added to the input where the shapes allow."""
    prefix = f"block_{index}_" if index else "expanded_conv_"
    before = x
    if expansion > 1:
        x = conv_bn(x, expansion * x.shape[-1], 1, f"{prefix}expand", f"{prefix}expand_BN", f"{prefix}expand_relu")
        taps[f"{prefix}expand_relu"] = x
    x = depthwise_bn(x, 3, f"{prefix}depthwise", f"{prefix}depthwise_BN", f"{prefix}depthwise_relu", stride)
    x = conv_bn(x, channels, 1, f"{prefix}project", f"{prefix}project_BN")
    return keras.layers.Add(name=f"{prefix}add")([before, x]) if before.shape == x.shape else x
