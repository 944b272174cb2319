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
# Rows that are worked on together: they stay in a small core's nearest cache but one.
_BAND_BYTES = 1 << 17


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
        np.fmin(np.fmax(image, 0, out=image), limit, out=image)
        return image

    def enlarged(self, width: int, height: int) -> Placement:
        """The same place for a picture of another size that shows the same."""
        scale = self.scale[0] * self.width / width, self.scale[1] * self.height / height
        return Placement(scale, self.offset, width, height)

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
    """Writes pictures into one input tensor; allocates its buffers once for all pictures of a shape.

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
        # Bytes that go into the tensor as they are, or with the sign flipped, need no table.
        self._flip_sign = tensor.dtype == np.int8 and bool(np.all(self.table == np.arange(-128, 128)[None, :, None]))
        self._direct = self._flip_sign or (
            tensor.dtype == np.uint8 and bool(np.all(self.table == np.arange(256)[None, :, None]))
        )
        self._half = tensor.dtype == np.float16  # OpenCV's LUT has no half floats.
        self._lut = self.table.astype(np.float32) if self._half else self.table
        padding = self.table[0, spec.pad_value]
        self._padding = padding[0] if (padding == padding[0]).all() else padding
        self._shape: tuple[int, ...] = ()

    def write(self, frame: Frame, view: npt.NDArray[Any]) -> Placement:
        """Resizes, reorders, normalises and quantises a picture into ``view``.

        Args:
            frame: ``(h, w, 3)`` uint8 pixels of either colour order.
            view: The input tensor's memory, ``(1, height, width, 3)``.

        Returns:
            Where the picture lies in the tensor, for mapping boxes back.

        Raises:
            InputError: Pixels of another shape or type.
        """
        pixels = frame.pixels if frame.small is None else self._enough(frame.pixels, frame.small)
        try:
            known = pixels.shape == self._shape and pixels.dtype == np.uint8
        except AttributeError:
            raise InputError(
                f"a picture is of type {type(pixels).__name__}",
                "expected an array of shape (height, width, 3) and type uint8",
                "look whether it was read: cv2.imread gives None for a file it cannot read",
            ) from None
        if not known:
            self._set_shape(pixels)
        part = pixels if self._window is None else pixels[self._window]
        target = view[0]
        for margin in self._margins:
            target[margin] = self._padding
        inner, swap = target[self._inner], frame.color != self.spec.color
        if self._direct:
            self._write_bytes(part, inner.view(np.uint8), swap)
        else:
            self._write_table(part, inner, swap)
        if pixels is frame.small:
            return self._placement.enlarged(frame.width, frame.height)
        return self._placement

    def _enough(self, pixels: npt.NDArray[np.uint8], small: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The smaller of two pictures where that need not be enlarged."""
        return small if max(place(self.spec, small.shape[1], small.shape[0]).scale) <= 1 else pixels

    def _write_bytes(self, pixels: npt.NDArray[np.uint8], inner: npt.NDArray[np.uint8], swap: bool) -> None:
        """Straight into the tensor; colours are swapped there, band by band, so that rows are still in the cache."""
        if swap and not self._flip_sign:
            cv2.resize(pixels, self._size, dst=self._resized, interpolation=cv2.INTER_LINEAR)
            cv2.cvtColor(self._resized, cv2.COLOR_BGR2RGB, dst=inner)
            return
        cv2.resize(pixels, self._size, dst=inner, interpolation=cv2.INTER_LINEAR)
        if not swap:
            if self._flip_sign:
                np.bitwise_xor(inner, _SIGN_BIT, out=inner)
            return
        for rows, band in self._bands:
            part = inner[rows]
            cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=band)
            np.bitwise_xor(band, _SIGN_BIT, out=part)

    def _write_table(self, pixels: npt.NDArray[np.uint8], inner: npt.NDArray[Any], swap: bool) -> None:
        cv2.resize(pixels, self._size, dst=self._resized, interpolation=cv2.INTER_LINEAR)
        for rows, band in self._bands:
            part = self._resized[rows]
            if swap:
                part = np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=band), np.uint8)
            if self._half:
                inner[rows] = cv2.LUT(part, self._lut, dst=self._wide[: len(part)])
            else:
                cv2.LUT(part, self._lut, dst=inner[rows])

    def _set_shape(self, pixels: npt.NDArray[Any]) -> None:
        """Works out where pictures of a shape go, and allocates what is needed on the way."""
        shape, spec = pixels.shape, self.spec
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or pixels.dtype != np.uint8:
            raise InputError(
                f"a picture is an array of shape {shape} and type {pixels.dtype}",
                "expected (height, width, 3) of uint8",
                "convert it, as cv2.imread does",
            )
        height, width = shape[:2]
        self._placement = place(spec, width, height)
        self._size, self._window = (spec.width, spec.height), None
        left, top = 0, 0
        if spec.resize == "letterbox":
            self._size = _letterbox_size(spec, width, height)
            left, top = map(int, self._placement.offset)
        elif spec.resize == "crop":
            x, y, cut_width, cut_height = _crop_window(spec, width, height)
            self._window = slice(y, y + cut_height), slice(x, x + cut_width)
        right, bottom = left + self._size[0], top + self._size[1]
        self._inner = slice(top, bottom), slice(left, right)
        around = (
            (slice(0, top), slice(None)),
            (slice(bottom, spec.height), slice(None)),
            (slice(top, bottom), slice(0, left)),
            (slice(top, bottom), slice(right, spec.width)),
        )
        self._margins = [margin for margin in around if _area(margin, spec)]
        self._allocate(*self._size)
        self._shape = shape

    def _allocate(self, width: int, height: int) -> None:
        if not self._flip_sign:
            self._resized = np.empty((height, width, 3), np.uint8)
        count = max(1, min(height, _BAND_BYTES // (3 * width)))
        band = np.empty((count, width, 3), np.uint8)
        self._bands = [(slice(y, y + count), band[: height - y]) for y in range(0, height, count)]
        if self._half:
            self._wide = np.empty(band.shape, np.float32)


def _area(margin: tuple[slice, slice], spec: InputSpec) -> int:
    rows, columns = margin[0].indices(spec.height), margin[1].indices(spec.width)
    return len(range(*rows)) * len(range(*columns))


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
        raise InputError(
            f"input tensor '{tensor.name}' is {tensor.dtype}",
            "expected int8, uint8, int16 or float",
            "convert the network with such an input",
        )
    scaled = real / (tensor.scale or 1.0)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled)) + tensor.zero_point
    limits = np.iinfo(tensor.dtype)
    return np.ascontiguousarray(np.clip(rounded, limits.min, limits.max).astype(tensor.dtype))
