"""How pictures are fed to a network that does not say it in a card.

What is known is used, best source first; what is left is the usual way of the layout, and is said to be an assumption.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from runtime.card import Color, InputSpec
from runtime.engine import TensorSpec
from runtime.errors import InputError
from runtime.foreign.graph import Graph
from runtime.foreign.metadata import Metadata
from runtime.values import value

Range = tuple[tuple[float, ...], tuple[float, ...]]

# scale and offset of: real = pixel * scale + offset.
ZERO_TO_ONE: Range = ((1 / 255,), (0.0,))
MINUS_ONE_TO_ONE: Range = ((1 / 127.5,), (-1.0,))
PIXELS: Range = ((1.0,), (0.0,))
_CALLED = {ZERO_TO_ONE: "0..1", MINUS_ONE_TO_ONE: "-1..1", PIXELS: "0..255"}
_COLORS: dict[Color, str] = {"rgb": "red, green, blue", "bgr": "blue, green, red"}
_LEAST_PIXEL = {"uint8": 0, "int8": -128}
# A network that works on 0..1 subtracts means below 1; one that works on 0..255 divides by more than this.
_SMALL = 2.0


@value
class Fitting:
    """The usual way to feed a layout; the fields are those of :class:`InputSpec`.

    Attributes:
        values: Range of a float input.
    """

    values: Range
    resize: Literal["stretch", "letterbox", "crop"]
    color: Color = "rgb"
    position: Literal["centre", "top-left"] = "centre"
    crop: float = 1.0


def input_spec(
    tensor: TensorSpec, graph: Graph, metadata: Metadata, fitting: Fitting
) -> tuple[InputSpec, tuple[str, ...]]:
    """The input of a card, and what had to be assumed for it.

    Args:
        tensor: The input, ``(1, height, width, 3)``.
        graph: The network.
        metadata: What the file tells.
        fitting: The usual way of its layout.

    Raises:
        InputError: A type no picture can be written to.
    """
    values, assumed = _values(tensor, graph, metadata, fitting.values)
    _, height, width, _ = tensor.shape
    spec = InputSpec(
        tensor.name, width, height, fitting.color, fitting.resize, *values, position=fitting.position, crop=fitting.crop
    )
    parts = [assumed] if assumed else []
    if not metadata.rgb:
        parts.append(f"colours in the order {_COLORS[fitting.color]}")
    return spec, tuple(parts)


def _values(tensor: TensorSpec, graph: Graph, metadata: Metadata, usual: Range) -> tuple[Range, str]:
    """Range of the input, and what was assumed about it, if anything."""
    told = _told(metadata)
    if tensor.quantized and tensor.dtype == np.uint8:
        # Bytes are pixels: every tool feeds such files so, whatever their metadata says about floats.
        return stored_as_pixels(tensor.scale, tensor.zero_point, "uint8"), ""
    if tensor.quantized and tensor.dtype == np.int8:
        return told or stored_as_pixels(tensor.scale, tensor.zero_point, "int8"), ""
    if tensor.dtype == np.uint8:
        return PIXELS, ""
    if tensor.dtype.kind != "f" and not (tensor.dtype == np.int16 and tensor.quantized):
        raise InputError(
            f"input tensor '{tensor.name}' is {tensor.dtype}",
            "expected int8, uint8, int16 or float",
            "export the model with such an input",
        )
    found = told or _range_after_quantize(graph)
    if found:
        return found, ""
    if values := _range_before_arithmetic(graph):
        return values, f"pixels as {_CALLED[values]}, because the network begins by scaling them"
    return usual, f"pixels as {_CALLED[usual]}"


def stored_as_pixels(scale: float, zero_point: int, dtype: str) -> Range:
    """The range of a quantised 8-bit tensor whose smallest number is black and whose largest is white."""
    return (scale,), ((_LEAST_PIXEL[dtype] - zero_point) * scale,)


def _told(metadata: Metadata) -> Range | None:
    if metadata.ultralytics:
        return ZERO_TO_ONE
    if not metadata.std:
        return None
    count = max(len(metadata.mean), len(metadata.std))
    mean, std = (values * (count // len(values)) for values in (metadata.mean, metadata.std))
    return tuple(1 / s for s in std), tuple(-m / s for m, s in zip(mean, std, strict=True))


def _range_after_quantize(graph: Graph) -> Range | None:
    """A float input that is quantised first has the range of the 8-bit tensor behind it."""
    users = graph.users(graph.inputs[0])
    if len(users) != 1 or users[0].name != "QUANTIZE" or not users[0].outputs:
        return None
    tensor = graph.tensors[users[0].outputs[0]]
    return stored_as_pixels(tensor.scale, tensor.zero_point, tensor.bits8) if tensor.bits8 else None


def _range_before_arithmetic(graph: Graph) -> Range | None:
    """A network that begins by scaling its input shows by the constant which numbers it wants."""
    users = graph.users(graph.inputs[0])
    if len(users) != 1 or users[0].name not in ("ADD", "SUB", "MUL", "DIV"):
        return None
    constants = [graph.tensors[i].constant for i in users[0].inputs if 0 <= i < len(graph.tensors)]
    constant = next((values for values in constants if values is not None), None)
    if constant is None or not np.isfinite(constant).all() or not constant.all():
        return None
    size = float(np.abs(constant).max())
    return PIXELS if (1 / size if users[0].name == "MUL" else size) > _SMALL else ZERO_TO_ONE
