"""Capture, detection and delivery side by side, with nothing queued.

Between two stages there is room for exactly one item. A live source replaces an item that was not taken in time, so
what comes out is always recent and the frames left out are counted; a file waits, so that none is lost.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from runtime.detections import Detections
from runtime.detector import Detector
from runtime.frame import Frame
from runtime.sources import Source, frames

T = TypeVar("T")


class Slot(Generic[T]):
    """Room for one item between two threads.

    Attributes:
        dropped: Items that were replaced before anybody took them.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self.dropped = 0

    def put(self, item: T, *, replace: bool) -> bool:
        """Leaves an item for the other side.

        Args:
            item: The item.
            replace: Whether to drop an item that still lies there; otherwise wait until it is taken.

        Returns:
            False when the slot was closed and the item is lost.
        """
        with self._condition:
            if replace and self._item is not None:
                self.dropped += 1
                self._item = None
            self._condition.wait_for(lambda: self._item is None or self._closed)
            if self._closed:
                return False
            self._item = item
            self._condition.notify_all()
            return True

    def take(self) -> T | None:
        """Waits for an item; ``None`` once the slot is closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            self._condition.notify_all()
            return item

    def close(self) -> None:
        """No more items: wakes both sides. An item that lies there can still be taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


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


class Pipeline:
    """Runs a detector over a source in its own threads; iterate over it for the results.

    Args:
        source: Where frames come from; closed at the end.
        detector: Used by the detection thread alone.
        loop: Start a file again when it ends.
        paced: Play a file at its own frame rate, as if it were a camera.

    A stage that fails ends the others, and its error is raised to whoever iterates.
    """

    def __init__(self, source: Source, detector: Detector, loop: bool = False, paced: bool = False) -> None:
        self._source = source
        self._detector = detector
        self._loop = loop
        self._pace = 1 / source.fps if paced and source.fps and not source.live else 0.0
        self._replace = source.live or self._pace > 0
        self._captured: Slot[Frame] = Slot()
        self._results: Slot[Result] = Slot()
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run_capture, name="edgewren-capture", daemon=True),
            threading.Thread(target=self._run_detect, name="edgewren-detect", daemon=True),
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
            thread.join()
        self._source.close()

    def __iter__(self) -> Iterator[Result]:
        while (result := self._results.take()) is not None:
            yield result
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Asks all stages to end; safe from any thread and from a signal handler's context."""
        self._stopping.set()
        self._captured.close()
        self._results.close()

    def _run_capture(self) -> None:
        """Frames that were captured before a failure are still worked off."""
        try:
            self._capture()
        except BaseException as error:
            self._error = error
        finally:
            self._captured.close()

    def _run_detect(self) -> None:
        try:
            self._detect()
        except BaseException as error:
            self._error = error
            self.stop()
        finally:
            self._results.close()

    def _capture(self) -> None:
        start, count = time.monotonic(), 0
        for frame in frames(self._source, self._loop):
            if self._pace:
                self._stopping.wait(max(0.0, start + count * self._pace - time.monotonic()))
                frame.captured = time.monotonic()
                count += 1
            if self._stopping.is_set() or not self._captured.put(frame, replace=self._replace):
                return

    def _detect(self) -> None:
        while (frame := self._captured.take()) is not None and not self._stopping.is_set():
            found = self._detector.detect(frame)
            result = Result(frame, found, time.monotonic(), self._captured.dropped)
            if not self._results.put(result, replace=False):
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
