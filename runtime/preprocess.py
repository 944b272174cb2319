"""A picture into the input tensor, as the model card says.

This is the only preprocessing in the project: calibration, evaluation and the device all call it. Normalisation and
quantisation are folded into one table of 256 entries per channel, and for the common int8 case, where the table is
just ``pixel - 128``, into flipping one bit.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from runtime.card import InputSpec
from runtime.engine import TensorSpec
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.values import value

_SIGN_BIT = np.uint8(0x80)


@value
class Placement:
    """Where the image lies inside the input tensor: ``tensor = image * scale + offset``, per axis, in pixels.

    Attributes:
        scale, offset: ``(x, y)``.
        width, height: Size of the image in pixels.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    width: int
    height: int

    def to_image(self, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Boxes in tensor pixels to boxes in image pixels, clipped to the image.

        Args:
            boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2``.
        """
        offset, factor, limit = self._constants
        image: npt.NDArray[np.float32] = (boxes - offset) * factor
        np.minimum(np.maximum(image, 0, out=image), limit, out=image)
        return image

    @cached_property
    def _constants(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        factor = (1 / self.scale[0], 1 / self.scale[1])
        twice = [np.array(pair * 2, np.float32) for pair in (self.offset, factor, (self.width, self.height))]
        return twice[0], twice[1], twice[2]


def place(spec: InputSpec, width: int, height: int) -> Placement:
    """Where an image of ``width x height`` pixels goes in the tensor of ``spec``."""
    if spec.resize == "stretch":
        return Placement((spec.width / width, spec.height / height), (0.0, 0.0), width, height)
    if spec.resize == "crop":
        left, top, cut_width, cut_height = _crop_window(spec, width, height)
        scale = spec.width / cut_width, spec.height / cut_height
        return Placement(scale, (-left * scale[0], -top * scale[1]), width, height)
    inner_width, inner_height = _letterbox_size(spec, width, height)
    offset = ((spec.width - inner_width) // 2, (spec.height - inner_height) // 2)
    if spec.position == "top-left":
        offset = (0, 0)
    return Placement((inner_width / width, inner_height / height), offset, width, height)


def _letterbox_size(spec: InputSpec, width: int, height: int) -> tuple[int, int]:
    ratio = min(spec.width / width, spec.height / height)
    return max(1, min(spec.width, round(width * ratio))), max(1, min(spec.height, round(height * ratio)))


def _crop_window(spec: InputSpec, width: int, height: int) -> tuple[int, int, int, int]:
    """The middle of a picture with the tensor's aspect ratio: left, top, width and height in its pixels."""
    ratio = spec.crop * min(width / spec.width, height / spec.height)
    cut_width, cut_height = (max(1, round(side * ratio)) for side in (spec.width, spec.height))
    cut_width, cut_height = min(width, cut_width), min(height, cut_height)
    return (width - cut_width) // 2, (height - cut_height) // 2, cut_width, cut_height


class Preprocessor:
    """Writes pictures into one input tensor; allocates its buffers once.

    Args:
        spec: The card's input.
        tensor: The tensor to fill: ``(1, height, width, 3)``, int8, uint8, int16, float16 or float32.

    Attributes:
        table: See :func:`pixel_table`.

    Raises:
        InputError: The tensor does not have the shape or a type the card promises.
    """

    def __init__(self, spec: InputSpec, tensor: TensorSpec) -> None:
        expected = (1, spec.height, spec.width, 3)
        if tensor.shape != expected:
            raise InputError(
                f"input tensor '{tensor.name}' has shape {tensor.shape}",
                f"the card says {expected}",
                "rebuild the model",
            )
        self.spec = spec
        self.table = pixel_table(spec, tensor)
        self._resized = np.full((spec.height, spec.width, 3), spec.pad_value, np.uint8)
        self._ordered = np.empty_like(self._resized)
        self._flip_sign = tensor.dtype == np.int8 and bool(np.all(self.table == np.arange(-128, 128)[None, :, None]))
        self._keep = tensor.dtype == np.uint8 and bool(np.all(self.table == np.arange(256)[None, :, None]))
        self._last_size = (0, 0)
        self._placement = place(spec, spec.width, spec.height)
        self._inner = self._resized
        self._window: tuple[slice, slice] | None = None

    def write(self, frame: Frame, view: npt.NDArray[Any]) -> Placement:
        """Resizes, reorders, normalises and quantises a picture into ``view``.

        Args:
            frame: ``(h, w, 3)`` uint8 pixels of either colour order.
            view: The input tensor's memory, ``(1, height, width, 3)``.

        Returns:
            Where the picture lies in the tensor, for mapping boxes back.
        """
        if (frame.width, frame.height) != self._last_size:
            self._set_size(frame.width, frame.height)
        pixels = frame.pixels if self._window is None else frame.pixels[self._window]
        cv2.resize(pixels, self._inner.shape[1::-1], dst=self._inner, interpolation=cv2.INTER_LINEAR)
        swap = frame.color != self.spec.color
        target = view[0]
        if self._flip_sign or self._keep:
            bytes_ = target.view(np.uint8)
            if swap:
                cv2.cvtColor(self._resized, cv2.COLOR_BGR2RGB, dst=bytes_)
            source = bytes_ if swap else self._resized
            if self._flip_sign:
                np.bitwise_xor(source, _SIGN_BIT, out=bytes_)
            elif not swap:
                np.copyto(bytes_, source)
            return self._placement
        source = cv2.cvtColor(self._resized, cv2.COLOR_BGR2RGB, dst=self._ordered) if swap else self._resized
        if target.dtype == np.float16:  # OpenCV's LUT has no half floats.
            np.copyto(target, cv2.LUT(source, self.table.astype(np.float32)), casting="same_kind")
        else:
            cv2.LUT(source, self.table, dst=target)
        return self._placement

    def _set_size(self, width: int, height: int) -> None:
        self._last_size = (width, height)
        self._placement = place(self.spec, width, height)
        if self.spec.resize == "letterbox":
            inner_width, inner_height = _letterbox_size(self.spec, width, height)
            left, top = map(int, self._placement.offset)
            self._resized.fill(self.spec.pad_value)
            self._inner = self._resized[top : top + inner_height, left : left + inner_width]
        elif self.spec.resize == "crop":
            left, top, cut_width, cut_height = _crop_window(self.spec, width, height)
            self._window = slice(top, top + cut_height), slice(left, left + cut_width)


def pixel_table(spec: InputSpec, tensor: TensorSpec) -> npt.NDArray[Any]:
    """The stored number of each pixel value and channel: ``(1, 256, 3)`` of the tensor's dtype.

    ``real = pixel * scale + offset``; for a quantised tensor ``stored = round(real / scale_q) + zero_point``,
    saturated. Rounding is half away from zero, as TensorFlow Lite's QUANTIZE op does.

    Raises:
        InputError: The tensor's type is not one a picture can be written to.
    """
    pixels = np.arange(256, dtype=np.float64)[:, None]
    real = pixels * np.array(spec.scale) + np.array(spec.offset)
    real = np.broadcast_to(real, (256, 3))[None]
    if tensor.dtype.kind == "f":
        return np.ascontiguousarray(real.astype(tensor.dtype))
    # A uint8 tensor without a scale takes the numbers themselves: the network converts them.
    plain = tensor.dtype == np.uint8 and not tensor.quantized
    if tensor.dtype not in (np.int8, np.uint8, np.int16) or not (tensor.quantized or plain):
        raise InputError(f"input tensor '{tensor.name}' is {tensor.dtype}", "expected int8, uint8, int16 or float")
    scaled = real / (tensor.scale or 1.0)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled)) + tensor.zero_point
    limits = np.iinfo(tensor.dtype)
    return np.ascontiguousarray(np.clip(rounded, limits.min, limits.max).astype(tensor.dtype))
