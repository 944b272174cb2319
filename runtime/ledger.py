"""What became of every frame that was read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

NEWER = "newer"
"""A newer frame came before the network had time for this one."""
CAMERA = "camera"
"""A newer frame came before this one was read."""
RATE = "rate"
"""More frames came than are to be looked at."""
GOVERNOR = "governor"
"""Likewise, because the board could not keep up."""
CHANGE = "change"
"""The work ended, or went on with another model or source, before this one was finished."""


@dataclass(frozen=True)
class Tally:
    """Frames of one moment; ``captured`` is always the sum of the others.

    Attributes:
        captured: Frames the source has given.
        results: Of those, looked at and handed on.
        left_out: Of those, never handed on, by reason.
    """

    captured: int = 0
    results: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """Frames left out for any reason."""
        return sum(self.left_out.values())

    @property
    def in_flight(self) -> int:
        """Frames that are still being worked on."""
        return self.captured - self.results - self.dropped

    def __add__(self, other: Tally) -> Tally:
        left_out = Counter(self.left_out) + Counter(other.left_out)
        return Tally(self.captured + other.captured, self.results + other.results, dict(left_out))


class Ledger:
    """Counts frames in and out; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = 0
        self._results = 0
        self._left_out: Counter[str] = Counter()

    def capture(self) -> None:
        """A frame was read."""
        with self._lock:
            self._captured += 1

    def leave_out(self, reason: str) -> None:
        """A frame that was read will not be handed on."""
        with self._lock:
            self._left_out[reason] += 1

    def finish(self) -> None:
        """A result was handed on."""
        with self._lock:
            self._results += 1

    def settle(self) -> None:
        """Nobody works any more: what is still in flight will not come."""
        with self._lock:
            if lost := self._captured - self._results - self._left_out.total():
                self._left_out[CHANGE] += lost

    @property
    def dropped(self) -> int:
        """Frames left out for any reason so far."""
        with self._lock:
            return self._left_out.total()

    def tally(self) -> Tally:
        """All of it, of one moment."""
        with self._lock:
            return Tally(self._captured, self._results, dict(self._left_out))
