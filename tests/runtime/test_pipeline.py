"""Stages side by side."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from runtime.detections import Detections
from runtime.detector import Detector
from runtime.errors import RunError
from runtime.frame import Frame
from runtime.ledger import CHANGE, Tally
from runtime.pipeline import Meter, Pipeline, Result
from runtime.slot import Slot
from runtime.stages import Inferred


class CountingSource:
    """Numbered black frames, at once or every few milliseconds."""

    def __init__(self, count: int, live: bool = False, interval: float = 0.0, fps: float | None = None) -> None:
        self.live, self.fps = live, fps
        self.count, self.interval = count, interval
        self.next = 0
        self.closed = False

    def read(self) -> Frame | None:
        if self.next >= self.count:
            return None
        time.sleep(self.interval)
        self.next += 1
        return Frame(np.zeros((4, 4, 3), np.uint8), index=self.next - 1)

    def rewind(self) -> bool:
        self.next = 0
        return True

    def close(self) -> None:
        self.closed = True


class SlowDetector:
    """Finds nothing, and takes its time or fails: detector and stages in one."""

    def __init__(self, seconds: float = 0.0, fail_at: int = -1) -> None:
        self.seconds, self.fail_at = seconds, fail_at

    def stages(self) -> SlowDetector:
        return self

    def prepare(self, frame: Frame) -> Frame:
        return frame

    def discard(self, frame: Frame) -> None:
        pass

    def infer(self, frame: Frame) -> Inferred:
        time.sleep(self.seconds)
        if frame.index == self.fail_at:
            raise RunError("the network broke")
        return cast(Inferred, SimpleNamespace(frame=frame))

    def finish(self, inferred: Inferred) -> Detections:
        return Detections.empty()


class Everything:
    """Wants every picture."""

    active = True

    def __init__(self) -> None:
        self.captured: list[float] = []

    def passed(self, frame: Frame) -> None:
        self.captured.append(frame.captured)


def pipeline(source: Any, detector: Any = None, **options: Any) -> Pipeline:
    return Pipeline(source, cast(Detector, detector or SlowDetector()), **options)


def running() -> int:
    return sum(thread.name.startswith("edgewren") for thread in threading.enumerate())


def test_a_file_loses_no_frame_and_keeps_the_order() -> None:
    source = CountingSource(50)
    with pipeline(source, SlowDetector(0.001)) as running_pipeline:
        results = list(running_pipeline)
    assert [result.frame.index for result in results] == list(range(50))
    assert results[-1].dropped == 0
    assert all(result.latency > 0 for result in results)
    assert source.closed
    assert running() == 0


def test_a_live_source_skips_what_is_not_taken_in_time() -> None:
    with pipeline(CountingSource(60, live=True, interval=0.002), SlowDetector(0.02)) as running_pipeline:
        results = list(running_pipeline)
    indices = [result.frame.index for result in results]
    assert indices == sorted(set(indices))
    assert len(indices) < 40
    assert results[-1].dropped == pytest.approx(60 - len(indices), abs=2)
    # Nothing queued: a frame waits at most for the one before it and its own turn.
    assert max(result.latency for result in results) < 0.02 * 4


def test_a_slow_reader_holds_nobody_up_for_ever() -> None:
    with pipeline(CountingSource(10_000_000)) as running_pipeline:
        for result in running_pipeline:
            if result.frame.index >= 5:
                break
    assert running() == 0


def test_paced_file_plays_at_its_own_speed() -> None:
    start = time.monotonic()
    with pipeline(CountingSource(11, fps=50.0), paced=True) as running_pipeline:
        results = list(running_pipeline)
    assert time.monotonic() - start >= 10 / 50
    assert results[-1].frame.index == 10


def test_a_paced_file_that_was_held_up_does_not_race() -> None:
    source = CountingSource(16, fps=50.0)
    read = source.read

    def held_up() -> Frame | None:
        if source.next == 5:
            time.sleep(1.5)
        return read()

    source.read = held_up  # type: ignore[method-assign]
    onlooker = Everything()
    with pipeline(source, paced=True, onlooker=onlooker) as running_pipeline:
        list(running_pipeline)
    # One that races gives them at once; the time is read a little after it was waited for.
    assert onlooker.captured[15] - onlooker.captured[5] >= 0.75 * 10 / 50


def test_loop_goes_on_until_stopped() -> None:
    seen = 0
    with pipeline(CountingSource(3), loop=True) as running_pipeline:
        for _ in running_pipeline:
            seen += 1
            if seen == 10:
                running_pipeline.stop()
    assert seen >= 10
    assert running() == 0


def test_a_failing_detector_ends_all_with_its_own_error() -> None:
    source = CountingSource(10_000_000)
    with pytest.raises(RunError, match="the network broke"), pipeline(source, SlowDetector(fail_at=7)) as broken:
        assert [result.frame.index for result in broken] == list(range(7))
    assert source.closed
    assert running() == 0


def test_a_failing_source_ends_all_with_its_own_error() -> None:
    class Broken(CountingSource):
        def read(self) -> Frame | None:
            frame = super().read()
            if frame and frame.index == 4:
                raise RunError("the camera is gone")
            return frame

    with pytest.raises(RunError, match="the camera is gone"), pipeline(Broken(100)) as broken:
        list(broken)
    assert running() == 0


def test_a_failure_while_boxes_are_read_ends_all_with_its_own_error() -> None:
    class Unreadable(SlowDetector):
        def finish(self, inferred: Inferred) -> Detections:
            raise RunError("the outputs are no boxes")

    source = CountingSource(10_000_000)
    with pytest.raises(RunError, match="no boxes"), pipeline(source, Unreadable()) as broken:
        list(broken)
    assert source.closed
    assert running() == 0


def test_what_the_reader_raises_is_what_comes_out() -> None:
    source = CountingSource(10_000_000)
    with pytest.raises(ZeroDivisionError), pipeline(source) as running_pipeline:
        [1 // (5 - result.frame.index) for result in running_pipeline]
    assert source.next >= 5
    assert source.closed
    assert running() == 0


@pytest.mark.parametrize("live", [False, True])
def test_nothing_piles_up_before_a_slow_reader(live: bool) -> None:
    """However long the reader takes, as many pictures are held as there are stages and slots."""
    held, most = set(), 0

    class Counting(SlowDetector):
        def prepare(self, frame: Frame) -> Frame:
            nonlocal most
            held.add(frame.index)
            most = max(most, len(held))
            return frame

        def discard(self, frame: Frame) -> None:
            held.discard(frame.index)

    with pipeline(CountingSource(200, live=live, interval=0.0005 if live else 0), Counting()) as running_pipeline:
        for result in running_pipeline:
            time.sleep(0.003)
            held.discard(result.frame.index)
    assert most <= 5


def test_what_is_read_while_it_ends_is_counted() -> None:
    """Frames a source gave are those the ledger knows, at whatever moment the pipeline stops."""
    reading, goes_on = threading.Event(), threading.Event()

    class Held(CountingSource):
        def read(self) -> Frame | None:
            reading.set()
            assert goes_on.wait(20)
            return super().read()

    source = Held(10, live=True)
    with pipeline(source) as running_pipeline:
        assert reading.wait(20)
        running_pipeline.stop()
        goes_on.set()
    assert source.next == 1
    assert running_pipeline.ledger.tally() == Tally(1, 0, {CHANGE: 1})


def test_slot_counts_what_it_drops_and_wakes_on_close() -> None:
    slot: Slot[int] = Slot()
    assert slot.put(1, replace=True)
    assert slot.put(2, replace=True)
    assert slot.dropped == 1
    assert slot.take() == 2
    waiting = threading.Thread(target=lambda: results.append(slot.take()))
    results: list[int | None] = []
    waiting.start()
    slot.close()
    waiting.join(5)
    assert results == [None]
    assert not slot.put(3, replace=False)


def test_meter() -> None:
    meter = Meter(window=5)
    assert (meter.fps, meter.latency_ms) == (0.0, 0.0)
    for index in range(10):
        frame = Frame(np.zeros((1, 1, 3), np.uint8), captured=index * 0.1)
        meter.add(Result(frame, Detections.empty(), index * 0.1 + 0.03, 0))
    assert meter.fps == pytest.approx(10)
    assert meter.latency_ms == pytest.approx(30)
