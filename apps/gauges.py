"""How the session is doing, in figures."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Literal

from apps.governor import Load
from apps.moment import Figures
from apps.notices import Notices
from runtime import board
from runtime.ledger import CAMERA, Tally
from runtime.pipeline import Meter, Pipeline, Result
from runtime.sources import Source

_SILENT_S = 2.0


class Gauges:
    """Counts results and drops over all models and sources of a session.

    Args:
        notices: Sentences for the viewer.
    """

    def __init__(self, notices: Notices) -> None:
        self.frames = 0
        self._notices = notices
        self._meter = Meter()
        self._latencies: deque[float] = deque(maxlen=100)
        self._before = Tally()
        self._pipeline: Pipeline | None = None
        self._source: Source | None = None
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._board: tuple[float | None, tuple[str, ...] | None] = (None, None)

    @property
    def fps(self) -> float:
        """Results per second; 0 when none came for a while."""
        return self._meter.fps if time.monotonic() - self._last < _SILENT_S else 0.0

    @property
    def tally(self) -> Tally:
        """What became of all frames so far."""
        running = self._pipeline.ledger.tally() if self._pipeline else Tally()
        return self._before + running + _unread(self._source)

    def add(self, result: Result) -> None:
        """Counts a result."""
        if result.ready - self._last > _SILENT_S:
            self._meter = Meter()
        self._last = result.ready
        self._meter.add(result)
        with self._lock:
            self._latencies.append(result.latency)
        self.frames += 1

    def another_pipeline(self, pipeline: Pipeline, source: Source) -> None:
        """A new pipeline counts from 0, and so does a new source."""
        if self._pipeline:
            self._before += self._pipeline.ledger.tally()
        if self._source is not source:
            self._before += _unread(self._source)
        self._pipeline, self._source = pipeline, source

    def read_board(self) -> None:
        """Asks the board for heat and throttling; takes milliseconds, so not in the session's thread."""
        throttle = board.throttle()
        self._board = board.temperature(), None if throttle is None else throttle.now

    def load(self) -> Load:
        """What the governor wants to know."""
        with self._lock:
            ordered = sorted(self._latencies)
        slow = 1e3 * ordered[int(0.95 * (len(ordered) - 1))] if ordered else 0.0
        return Load(slow, *self._board)

    def figures(self, source: Source) -> Figures:
        """All of it, for one moment."""
        state, reason = _condition(source)
        self._notices.set("source", reason and f"{reason}; trying again")
        temperature, throttled = self._board
        tally = self.tally
        return Figures(
            fps=round(self.fps, 1),
            latency_ms=round(self._meter.latency_ms, 1),
            dropped=tally.dropped,
            frames=self.frames,
            captured=tally.captured,
            left_out=tally.left_out,
            in_flight=tally.in_flight,
            temperature=temperature,
            throttled=throttled,
            source=state,
            notices=self._notices.texts(),
        )


def _unread(source: Source | None) -> Tally:
    """Frames of a camera that nobody read."""
    count: int = getattr(source, "dropped", 0)
    return Tally(count, 0, {CAMERA: count})


def _condition(source: Source) -> tuple[Literal["live", "reopening", "ended"], str]:
    """How a source is, and why it is not live; only cameras that are opened again tell."""
    found: Any = getattr(source, "state", None)
    return (found.state, found.reason) if found else ("live", "")
