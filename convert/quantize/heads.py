"""Raw heads, one tensor per kind, so that each kind gets its own int8 scale.

An SSD network has one convolution for boxes and one for classes per head, and stays as it is. A raw YOLO head
interleaves box offsets (small numbers), objectness and class logits (large ones) in one tensor. In int8 they would
share one scale, which is where most converted YOLO nets lose their accuracy. That head is always the output of a
convolution, so the cut costs nothing: the convolution's filters are sorted into three convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
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
    """A network with one output per head and kind; the numbers stay the same.

    Raises:
        InputError: Outputs that do not fit the decoder, or a decoder whose heads are unknown here.
    """
    split = _SPLITTERS.get(source.decoder.name)
    if split is None:
        raise InputError(
            f"{source.name} is for decoder '{source.decoder.name}'", "expected one of " + ", ".join(_SPLITTERS)
        )
    return split(source)


def _split_yolo(source: SourceModel) -> SplitModel:
    """Replaces each head convolution by one convolution per kind."""
    outputs, bindings = [], []
    for index, (tensor, head) in enumerate(zip(source.model.outputs, source.decoder.heads, strict=True)):
        convolution = tensor._keras_history.operation
        if not isinstance(convolution, keras.layers.Conv2D) or convolution.groups != 1:
            raise InputError(
                f"head {index} of {source.name} is a {type(convolution).__name__}",
                "expected a convolution without activation before each [yolo]",
            )
        for kind, part in _PARTS:
            binding = _binding(source, index, kind)
            channels = anchor_channels(tensor.shape[-1], len(head.anchors), part)
            outputs.append(_slice_convolution(convolution, channels, binding.name))
            bindings.append(binding)
    return SplitModel(keras.Model(source.model.input, outputs, name="split"), tuple(bindings))


def _bind_ssd(source: SourceModel) -> SplitModel:
    """Names the outputs box_0, class_0, box_1, class_1, ... of a network whose heads are separate; no new ops."""
    heads, sizes = source.decoder.heads, {"box": 4, "class": len(source.labels.names)}
    wanted = [(index, kind, len(head.anchors) * sizes[kind]) for index, head in enumerate(heads) for kind in _SSD_KINDS]
    channels = [tensor.shape[-1] for tensor in source.model.outputs]
    if channels != [count for _, _, count in wanted]:
        raise InputError(
            f"{source.name} has outputs of {', '.join(map(str, channels))} channels",
            "expected " + ", ".join(f"{count} ({kind} of head {index})" for index, kind, count in wanted),
        )
    return SplitModel(source.model, tuple(_binding(source, index, kind) for index, kind, _ in wanted))


_SSD_KINDS: tuple[Kind, ...] = ("box", "class")
_SPLITTERS: dict[str, Callable[[SourceModel], SplitModel]] = {"ssd": _bind_ssd, "yolo": _split_yolo}


def _binding(source: SourceModel, index: int, kind: Kind) -> OutputBinding:
    stride = source.decoder.heads[index].stride
    return OutputBinding(f"{kind}_{stride}" if _unique_strides(source) else f"{kind}_{stride}_{index}", kind, index)


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
