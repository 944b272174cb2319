"""How fast and how large a network of some shape is as an int8 file; its weights do not matter for that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.milliseconds import by_layer
from convert.quantize.heads import split_heads
from convert.quantize.tflite import to_tflite
from convert.source import SourceModel
from convert.stopwatch import Stopwatch

Floats = npt.NDArray[np.float32]

# Enough for ranges nobody will use.
_SAMPLES = 2


class Scales:
    """Weighs networks against the whole one.

    Args:
        source: The whole network.
        samples: A few inputs.
        stopwatch: Where time is taken.
    """

    def __init__(self, source: SourceModel, samples: Floats, stopwatch: Stopwatch) -> None:
        self._source, self._samples, self._stopwatch = source, samples[:_SAMPLES], stopwatch
        self._last: tuple[keras.Model, bytes] | None = None
        self._whole_ms = math.inf
        self.where = stopwatch.name

    @cached_property
    def _whole(self) -> bytes:
        return self.file(self._source.model)

    def file(self, model: keras.Model) -> bytes:
        """A network as a plain int8 file; made once for the network asked for last, since that takes seconds."""
        if self._last is None or self._last[0] is not model:
            split = split_heads(dataclasses.replace(self._source, model=model))
            self._last = model, to_tflite(split, self._source.input.name, "int8", self._samples)
        return self._last[1]

    def size(self, model: keras.Model) -> int:
        """Bytes of the file, without the card."""
        return len(self.file(model))

    @property
    def whole_size(self) -> int:
        """Bytes of the whole network's file."""
        return len(self._whole)

    def time(self, model: keras.Model) -> tuple[float, float]:
        """Milliseconds of an inference, and of the whole network's.

        A busy machine slows both alike, so their ratio within a round is what is measured. The whole network's time is
        the shortest median there was so far: what comes nearest to an idle machine.
        """
        whole, pruned = self._stopwatch.time([self._whole, self.file(model)])
        self._whole_ms = min(self._whole_ms, whole.ms)
        return self._whole_ms * (1 + pruned.slowdown / 100), self._whole_ms

    def quicker(self, one: keras.Model, other: keras.Model) -> bool:
        """Whether a network takes less time than another: both in turn, the middle one of three answers."""
        files = [self.file(other), self.file(one)]
        return float(np.median([self._stopwatch.time(files)[1].slowdown for _ in range(3)])) < 0

    def by_layer(self) -> dict[str, float]:
        """Milliseconds of the whole network's layers, as far as they are known."""
        return by_layer(self._stopwatch.by_op(self._whole), split_heads(self._source), self._source.model)


def bisect(
    shape: Callable[[float], float], wanted: float, low: float, high: float, tries: int = 8, close: float = 0.02
) -> tuple[float, float]:
    """Where a measured quantity that grows with its argument comes closest to a value.

    Args:
        shape: Measures; called with arguments between ``low`` and ``high``.
        wanted: The value.
        low: The smallest argument.
        high: The largest.
        tries: How often it is measured at most.
        close: Share of the value that is close enough.

    Returns:
        The argument whose value came closest, and that value.
    """
    best = (high, np.inf)
    for _ in range(tries):
        middle = (low + high) / 2
        value = shape(middle)
        if abs(value - wanted) < abs(best[1] - wanted):
            best = (middle, value)
        if abs(value / wanted - 1) < close:
            break
        low, high = (middle, high) if value < wanted else (low, middle)
    return best
