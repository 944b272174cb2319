"""Cutting raw heads by kind, so that each kind gets its own int8 scale.

A raw YOLO head interleaves box offsets (small numbers), objectness and class logits (large ones) in one tensor. In
int8 they would share one scale, which is where most converted YOLO nets lose their accuracy. The head is always the
output of a convolution, so the cut costs nothing: the convolution's filters are sorted into three convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from convert.source import SourceModel
from runtime.card import Kind, OutputBinding
from runtime.errors import InputError

# Order inside one anchor of a Darknet head: x, y, w, h, objectness, classes.
_PARTS: tuple[tuple[Kind, slice], ...] = (("box", slice(0, 4)), ("objectness", slice(4, 5)), ("class", slice(5, None)))


@dataclass(frozen=True)
class SplitModel:
    """A network whose outputs are one tensor per head and kind.

    Attributes:
        model: Keras model; ``model.outputs`` in the order of ``bindings``.
        bindings: Name, kind and head of each output. Shapes are ``(1, h, w, anchors * n)`` with n = 4 for ``box``,
            1 for ``objectness`` and the number of classes for ``class``.
    """

    model: keras.Model
    bindings: tuple[OutputBinding, ...]


def split_heads(source: SourceModel) -> SplitModel:
    """Replaces each head convolution by one convolution per kind; the numbers stay the same.

    Raises:
        InputError: A head is not the output of a plain convolution.
    """
    outputs, bindings = [], []
    for index, (tensor, head) in enumerate(zip(source.model.outputs, source.decoder.heads, strict=True)):
        convolution = tensor._keras_history.operation
        if not isinstance(convolution, keras.layers.Conv2D) or convolution.groups != 1:
            raise InputError(
                f"head {index} of {source.name} is a {type(convolution).__name__}",
                "expected a convolution without activation before each [yolo]",
            )
        for kind, part in _PARTS:
            name = f"{kind}_{head.stride}" if _unique_strides(source) else f"{kind}_{head.stride}_{index}"
            channels = anchor_channels(tensor.shape[-1], len(head.anchors), part)
            outputs.append(_slice_convolution(convolution, channels, name))
            bindings.append(OutputBinding(name, kind, index))
    return SplitModel(keras.Model(source.model.input, outputs, name="split"), tuple(bindings))


def anchor_channels(total: int, anchors: int, part: slice) -> npt.NDArray[np.int64]:
    """Channel numbers of one kind, anchor after anchor.

    Args:
        total: Channels of the raw head, ``anchors * (5 + classes)``.
        anchors: Number of anchors.
        part: Which of an anchor's ``5 + classes`` channels.
    """
    return np.arange(total).reshape(anchors, -1)[:, part].ravel()


def _unique_strides(source: SourceModel) -> bool:
    strides = [head.stride for head in source.decoder.heads]
    return len(set(strides)) == len(strides)


def _slice_convolution(convolution: keras.layers.Conv2D, channels: npt.NDArray[np.int64], name: str):  # type: ignore[no-untyped-def]
    config = convolution.get_config() | {"filters": len(channels), "name": name}
    layer = keras.layers.Conv2D.from_config(config)
    result = layer(convolution.input)
    layer.set_weights([weight[..., channels] for weight in convolution.get_weights()])
    return result
