"""Capture, inference and reading of boxes side by side, with nothing queued.

The network runs as often as it can: while it does, the next picture is fetched and prepared, and the last one's boxes
are read by whoever takes the results. Between two stages there is room for exactly one item. A live source replaces an
item that was not taken in time, so what comes out is always recent and the frames left out are counted; a file waits,
so that none is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from runtime.detections import Detections
from runtime.detector import Detector
from runtime.foresight import Foresight
from runtime.frame import Frame
from runtime.ledger import NEWER, RATE, Ledger
from runtime.slot import Slot
from runtime.sources import Asking, Source, frames
from runtime.stages import Inferred, Prepared

MOST_IN_FLIGHT = 5
"""Frames between source and results: being prepared, waiting, in the network, waiting again, being read."""
_WAKE_S = 0.1
# A film that was held up for longer goes on from there; for less it makes up the time, so that it keeps its speed.
_LATE_S = 1.0


@dataclass(frozen=True)
class Result:
    """One frame and what was found in it.

    Attributes:
        frame: The picture.
        found: The objects in it.
        ready: ``time.monotonic()`` seconds when they were found.
        dropped: Frames left out so far.
    """

    frame: Frame
    found: Detections
    ready: float
    dropped: int

    @property
    def latency(self) -> float:
        """Seconds from capture to result."""
        return self.ready - self.frame.captured


class Onlooker(Protocol):
    """Somebody who may want every picture, whether the network sees it or not.

    Attributes:
        active: Whether it wants them now.
    """

    active: bool

    def passed(self, frame: Frame) -> None:
        """Takes a frame in the capture thread, before the network does. Must be quick."""


class Pipeline:
    """Runs a detector over a source in its own threads; iterate over it for the results.

    Args:
        source: Where frames come from; closed at the end.
        detector: Used by the pipeline alone as long as it runs.
        loop: Start a file again when it ends.
        paced: Play a file at its own frame rate, as if it were a camera.
        keep: Leave the source open at the end, for another pipeline to go on with.
        onlooker: Gets, while it is active, every frame that is not left out on purpose (:meth:`limit`).

    A stage that fails ends the others, and its error is raised to whoever takes the results.

    Of a live source that is faster than the network only those pictures are decoded that the network may get.

    Attributes:
        keep: As given; may be changed until the end.
        ledger: What became of every frame; settled at the end.
    """

    def __init__(
        self,
        source: Source,
        detector: Detector,
        loop: bool = False,
        paced: bool = False,
        *,
        keep: bool = False,
        onlooker: Onlooker | None = None,
    ) -> None:
        self.keep = keep
        self._source = source
        self._loop = loop
        self._onlooker = onlooker
        self._foresight = Foresight()
        self._due = 0.0
        self._limit: float | None = None
        self._limited_by = RATE
        self.ledger = Ledger()
        self._pace = 1 / source.fps if paced and source.fps and not source.live else 0.0
        self._replace = source.live or self._pace > 0
        self._stages = detector.stages()
        self._captured: Slot[Prepared] = Slot(self._lose)
        self._inferred: Slot[Inferred] = Slot()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        # Each stage and the slots that end with it: one to either side, so that its neighbours wait for nothing.
        stages = {
            "capture": (self._capture, [self._captured]),
            "infer": (self._infer, [self._captured, self._inferred]),
        }
        self._threads = [
            threading.Thread(target=self._run, args=stage, name=f"edgewren-{name}", daemon=True)
            for name, stage in stages.items()
        ]

    def __enter__(self) -> Pipeline:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(_WAKE_S)
            while thread.is_alive():
                # It may have begun to wait for a camera just after it was woken.
                self._wake()
                thread.join(_WAKE_S)
        if isinstance(self._source, Asking):
            self._source.wanted = None
        self.ledger.settle()
        if not self.keep:
            self._source.close()

    def __iter__(self) -> Iterator[Result]:
        while (result := self.take()) is not None:
            yield result

    def take(self, timeout: float | None = None) -> Result | None:
        """The next result; ``None`` at the end.

        Args:
            timeout: Most seconds to wait; by default for ever.

        Raises:
            TimeoutError: Nothing was found by then.
            EdgewrenError: What a stage failed with.
        """
        inferred = self._inferred.take(timeout)
        if inferred is None:
            if self._error is not None:
                raise self._error
            return None
        found = self._stages.finish(inferred)
        self.ledger.finish()
        return Result(inferred.frame, found, time.monotonic(), self.ledger.dropped)

    def limit(self, fps: float | None, reason: str = RATE) -> None:
        """Looks at no more than so many frames a second of a live or paced source; all of them with ``None``.

        Args:
            fps: Frames per second.
            reason: What frames that are left out for this are counted as.
        """
        self._limit, self._limited_by = fps, reason

    def stop(self) -> None:
        """Asks all stages to end; safe from any thread."""
        self._stopping.set()
        self._captured.close()
        self._inferred.close()
        self._wake()

    def _wake(self) -> None:
        """A source that waits for a camera to come back would be waited for."""
        if interrupt := getattr(self._source, "interrupt", None):
            interrupt()

    def _run(self, stage: Callable[[], None], slots: Sequence[Slot[Any]]) -> None:
        """One stage in its thread. What it left behind before it failed is still worked off by the next one."""
        try:
            stage()
        except BaseException as error:
            self._error = error
            self._stopping.set()
        finally:
            for slot in slots:
                slot.close()

    def _lose(self, prepared: Prepared) -> None:
        self._stages.discard(prepared)
        if not self._stopping.is_set():
            self.ledger.leave_out(NEWER)

    def _capture(self) -> None:
        start, count = time.monotonic(), 0
        asks = isinstance(self._source, Asking) and self._source.live
        if isinstance(self._source, Asking):
            self._source.wanted = self._is_wanted
        for frame in frames(self._source, self._loop):
            if self._pace:
                late = time.monotonic() - start - count * self._pace
                self._stopping.wait(max(0.0, -late))
                if late > _LATE_S:
                    start += late
                frame.captured = time.monotonic()
                count += 1
            if self._stopping.is_set():
                # Nobody will look at it; it was read all the same.
                self.ledger.capture()
                return
            if not (asks or self._is_wanted(frame.captured)):
                continue
            self.ledger.capture()
            if self._onlooker and self._onlooker.active:
                self._onlooker.passed(frame)
            prepared = self._stages.prepare(frame)
            self._foresight.ready(frame.captured)
            if not self._captured.put(prepared, replace=self._replace):
                return

    def _is_wanted(self, captured: float) -> bool:
        """Whether a picture that was just taken is worth decoding; one that is not is counted here."""
        if self._stopping.is_set() or not self._replace:
            return True
        can_wait, limit = self._foresight.can_wait(captured), self._limit
        # The frame nearest to its time is taken: cameras do not tick evenly.
        early = 0.5 / (self._source.fps or 30)
        if limit and captured + early < self._due:
            return self._leave_out(self._limited_by)
        if can_wait and not (self._onlooker and self._onlooker.active):
            return self._leave_out(NEWER)
        if limit:
            self._due = max(self._due, captured - early) + 1 / limit
        return True

    def _leave_out(self, reason: str) -> bool:
        self.ledger.capture()
        self.ledger.leave_out(reason)
        return False

    def _infer(self) -> None:
        while (prepared := self._captured.take()) is not None:
            self._foresight.begins()
            inferred = self._stages.infer(prepared)
            self._foresight.ends()
            if not self._inferred.put(inferred, replace=False):
                return


class Meter:
    """Frame rate and latency over the last results.

    Args:
        window: How many results to look back.
    """

    def __init__(self, window: int = 30) -> None:
        self._ready: deque[float] = deque(maxlen=window)
        self._latency: deque[float] = deque(maxlen=window)

    def add(self, result: Result) -> None:
        """Counts a result."""
        self._ready.append(result.ready)
        self._latency.append(result.latency)

    @property
    def fps(self) -> float:
        """Results per second; 0 before the second one."""
        if len(self._ready) < 2 or self._ready[-1] <= self._ready[0]:
            return 0.0
        return (len(self._ready) - 1) / (self._ready[-1] - self._ready[0])

    @property
    def latency_ms(self) -> float:
        """Median milliseconds from capture to result."""
        ordered = sorted(self._latency)
        return ordered[len(ordered) // 2] * 1e3 if ordered else 0.0
