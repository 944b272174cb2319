"""Whether a picture is worth decoding, when a newer one will be ready before the network is free."""

from __future__ import annotations

import time
from collections import deque

# A pause this long is a camera that stopped, not its pace.
_LONGEST_GAP_S = 2.0
_LOOK_BACK = 8
# Of a gap between pictures: what the next one may come late.
_MARGIN = 0.25


class Foresight:
    """Learns how often pictures come, how long it takes until one is ready, and how long the network runs.

    Whoever captures calls :meth:`can_wait`, whoever prepares :meth:`ready`, whoever runs the network :meth:`begins` and
    :meth:`ends`. These may be three threads: each writes what the others only read. All times are ``time.monotonic()``
    seconds.

    A picture too many is decoded for nothing, one too few keeps the network waiting; so a preparation is taken to be
    slower than most of the last ones, and a run of the network quicker.
    """

    def __init__(self) -> None:
        self._gaps, self._efforts, self._runs = _Last(), _Last(), _Last()
        self._captured = self._begun = self._free = 0.0

    def can_wait(self, captured: float) -> bool:
        """Whether a picture that has just come may be left out for the next one.

        Args:
            captured: When it was taken.
        """
        gap, self._captured = captured - self._captured, captured
        if 0 < gap < _LONGEST_GAP_S:
            self._gaps.add(gap)
        next_one = captured + (1 + _MARGIN) * self._gaps.middle
        return next_one + self._efforts.high <= self._free

    def ready(self, captured: float, now: float | None = None) -> None:
        """A picture is decoded and in the shape of the input tensor.

        Args:
            captured: When it was taken.
            now: When it was ready; by default now.
        """
        self._efforts.add(_or_now(now) - captured)

    def begins(self, now: float | None = None) -> None:
        """The network begins to run."""
        self._begun = _or_now(now)
        self._free = self._begun + self._runs.low if self._runs.known else 0.0

    def ends(self, now: float | None = None) -> None:
        """It is free again."""
        self._runs.add(_or_now(now) - self._begun)
        self._free = 0.0


class _Last:
    """The last few durations, written by one thread; infinite before the first.

    Attributes:
        low, middle, high: Their quartiles.
    """

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_LOOK_BACK)
        self.low = self.middle = self.high = float("inf")

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return bool(self._seconds)

    def add(self, seconds: float) -> None:
        """Takes one more."""
        self._seconds.append(seconds)
        ordered = sorted(self._seconds)
        self.low, self.middle, self.high = (ordered[quarter * len(ordered) // 4] for quarter in (1, 2, 3))


def _or_now(seconds: float | None) -> float:
    return time.monotonic() if seconds is None else seconds
