"""A detection in three steps gives what a detection gives, out of memory that goes round."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from runtime.detector import Detector
from runtime.frame import Frame
from runtime.pipeline import Pipeline
from runtime.stages import Prepared
from tests.conftest import picture

SEEDS = range(6)


class Pictures:
    """Different pictures of different sizes."""

    live = False
    fps: float | None = None

    def __init__(self) -> None:
        self._left = list(SEEDS)

    def read(self) -> Frame | None:
        return frame(self._left.pop(0)) if self._left else None

    def rewind(self) -> bool:
        return False

    def close(self) -> None:
        pass


def frame(seed: int) -> Frame:
    return Frame(np.ascontiguousarray(picture(seed)[: 40 + 7 * seed]), index=seed)


@pytest.fixture
def detector(tiny_model: Path) -> Detector:
    return Detector.open(tiny_model, threads=1, score=0.01)


def test_steps_give_what_detect_gives(detector: Detector) -> None:
    expected = [detector.detect(frame(seed)) for seed in SEEDS]
    assert any(len(found) for found in expected)
    with Pipeline(Pictures(), detector) as pipeline:
        results = list(pipeline)
    assert [result.frame.index for result in results] == list(SEEDS)
    for result, other in zip(results, expected, strict=True):
        assert np.array_equal(result.found.boxes, other.boxes)
        assert np.array_equal(result.found.scores, other.scores)
        assert np.array_equal(result.found.class_ids, other.class_ids)
        assert min(result.found.ms) > 0


def test_pictures_prepared_ahead_do_not_disturb_each_other(detector: Detector) -> None:
    stages = detector.stages()
    expected = [detector.detect(frame(seed)).boxes for seed in SEEDS]
    prepared = [stages.prepare(frame(seed)) for seed in SEEDS]
    inferred = [stages.infer(one) for one in prepared]
    for one, boxes in zip(inferred, expected, strict=True):
        assert np.array_equal(stages.finish(one).boxes, boxes)


def test_memory_goes_round(detector: Detector) -> None:
    stages = detector.stages()
    places: set[int] = set()
    outputs: set[int] = set()
    for seed in SEEDS:
        dropped = stages.prepare(frame(seed))
        prepared = stages.prepare(frame(seed))
        stages.discard(dropped)
        places |= {_place(dropped), _place(prepared)}
        inferred = stages.infer(prepared)
        outputs.add(inferred.outputs.output_view(0).ctypes.data)
        stages.finish(inferred)
    assert len(places) == 2
    assert len(outputs) == 1


def test_the_next_picture_is_prepared_while_the_network_runs(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network waits, inside its run, until the next picture is prepared: one after the other would never end."""
    stages, ready = detector.stages(), threading.Semaphore(0)
    prepare, invoke = stages.prepare, detector.executor.invoke

    def announce(one: Frame) -> Prepared:
        prepared = prepare(one)
        if one.index > SEEDS[0]:
            ready.release()
        if one.index == SEEDS[-1]:
            ready.release()  # The last picture waits for none.
        return prepared

    def wait() -> None:
        assert ready.acquire(timeout=10)
        invoke()

    monkeypatch.setattr(stages, "prepare", announce)
    monkeypatch.setattr(detector.executor, "invoke", wait)
    monkeypatch.setattr(detector, "stages", lambda: stages)
    with Pipeline(Pictures(), detector) as pipeline:
        assert len(list(pipeline)) == len(SEEDS)


def _place(prepared: Prepared) -> int:
    return int(prepared.pixels.ctypes.data)
