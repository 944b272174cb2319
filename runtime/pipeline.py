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
from typing import Any

from runtime.detections import Detections
from runtime.detector import Detector
from runtime.frame import Frame
from runtime.slot import Slot
from runtime.sources import Source, frames
from runtime.stages import Inferred, Prepared


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
        detector: Used by the pipeline alone as long as it runs.
        loop: Start a file again when it ends.
        paced: Play a file at its own frame rate, as if it were a camera.

    A stage that fails ends the others, and its error is raised to whoever iterates.
    """

    def __init__(self, source: Source, detector: Detector, loop: bool = False, paced: bool = False) -> None:
        self._source = source
        self._loop = loop
        self._pace = 1 / source.fps if paced and source.fps and not source.live else 0.0
        self._replace = source.live or self._pace > 0
        self._stages = detector.stages()
        self._captured: Slot[Prepared] = Slot(self._stages.discard)
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
            thread.join()
        self._source.close()

    def __iter__(self) -> Iterator[Result]:
        while (inferred := self._inferred.take()) is not None:
            found = self._stages.finish(inferred)
            yield Result(inferred.frame, found, time.monotonic(), self._captured.dropped)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Asks all stages to end; safe from any thread and from a signal handler's context."""
        self._stopping.set()
        self._captured.close()
        self._inferred.close()

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

    def _capture(self) -> None:
        start, count = time.monotonic(), 0
        for frame in frames(self._source, self._loop):
            if self._pace:
                self._stopping.wait(max(0.0, start + count * self._pace - time.monotonic()))
                frame.captured = time.monotonic()
                count += 1
            if self._stopping.is_set() or not self._captured.put(self._stages.prepare(frame), replace=self._replace):
                return

    def _infer(self) -> None:
        while (prepared := self._captured.take()) is not None:
            if not self._inferred.put(self._stages.infer(prepared), replace=False):
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
