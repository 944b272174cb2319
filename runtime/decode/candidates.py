"""What a decoder returns, and the arithmetic all decoders share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.engine import TensorSpec

Floats = npt.NDArray[np.float32]


@dataclass(slots=True)
class Candidates:
    """Boxes above the threshold, before suppression.

    Attributes:
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2`` in pixels of the input tensor, not clipped.
        scores: ``(n,)`` float32, 0..1.
        class_ids: ``(n,)`` int32.
        final: Whether the graph has suppressed them already, and the best comes first.
    """

    boxes: Floats
    scores: Floats
    class_ids: npt.NDArray[np.int32]
    final: bool = False


def no_candidates() -> Candidates:
    """Nothing found."""
    return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))


def sigmoid(x: Floats) -> Floats:
    """``1 / (1 + exp(-x))`` in float32, without overflow warnings."""
    one = np.float32(1)
    result: Floats = one / (one + np.exp(-np.clip(x, -80, 80)))
    return result


def logit(probability: float) -> float:
    """The inverse of :func:`sigmoid`; minus infinity for 0, infinity for 1 and above."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


def dequantize(stored: npt.NDArray[Any], spec: TensorSpec) -> Floats:
    """Real numbers of a tensor: ``(stored - zero_point) * scale``, or the numbers themselves for a float tensor.

    What is float32 already is not copied.
    """
    if not spec.quantized:
        return stored.astype(np.float32, copy=False)
    real: Floats = (stored.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)
    return real


class Lookup:
    """A function of a tensor's real value, applied to stored numbers.

    An 8-bit tensor has 256 possible numbers, so the function is evaluated once for each and then looked up; for wider
    tensors it is evaluated each time.

    Args:
        spec: The tensor.
        function: Elementwise, float32 to float32.

    Attributes:
        eight_bit: Whether there is a table.
        ascending: Function values in the order of ascending stored numbers; ``None`` without a table.
        table: The same in the order of the bytes that store the numbers.
    """

    def __init__(self, spec: TensorSpec, function: Callable[[Floats], Floats]) -> None:
        self._spec = spec
        self._function = function
        self.eight_bit = spec.dtype in (np.int8, np.uint8) and spec.quantized
        self.ascending: Floats | None = None
        self.table: Floats | None = None
        if self.eight_bit:
            self.ascending = function(dequantize(stored_values(spec), spec))
            self.table = by_byte(self.ascending, spec)

    def __call__(self, stored: npt.NDArray[Any]) -> Floats:
        """Function values of stored numbers, same shape."""
        if self.table is not None:
            return self.table.take(stored.view(np.uint8))
        return self._function(dequantize(stored, self._spec))


class LookupPairs:
    """Two functions of a box tensor's real values, x and y by the first, width and height by the second.

    Args:
        spec: The tensor.
        first, second: As for :class:`Lookup`.
    """

    def __init__(self, spec: TensorSpec, first: Callable[[Floats], Floats], second: Callable[[Floats], Floats]) -> None:
        self._functions = Lookup(spec, first), Lookup(spec, second)
        tables = [each.table for each in self._functions if each.table is not None]
        # One table after the other: one look for both.
        self._table = np.concatenate(tables) if tables else None

    def __call__(self, stored: npt.NDArray[Any]) -> Floats:
        """Function values of ``(n, 4)`` stored numbers, ``(n, 4)`` float32; 0 where a damaged one gives no number."""
        if self._table is not None:
            return self._table.take(stored.view(np.uint8) + _SECOND)
        values = np.hstack([self._functions[0](stored[:, :2]), self._functions[1](stored[:, 2:])])
        # A box of no numbers overlaps nothing and everything: suppression would drop all others for it.
        values[np.isnan(values)] = 0
        return values


_SECOND = np.array([0, 0, 256, 256], np.int16)


def stored_values(spec: TensorSpec) -> npt.NDArray[np.int16]:
    """The 256 numbers an 8-bit tensor can hold, ascending."""
    return np.arange(256, dtype=np.int16) + int(np.iinfo(spec.dtype).min)


def by_byte(ascending: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[Any]:
    """Re-orders a table from ascending stored numbers to the byte that stores them, so that a view is an index."""
    return np.roll(ascending, 128) if spec.dtype == np.int8 else ascending
