"""Every frame a camera gave is a result, left out for a reason that is told, or still being worked on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from apps.governor import Level
from apps.moment import Figures
from runtime.frame import Frame
from runtime.ledger import CAMERA, CHANGE, GOVERNOR, NEWER, RATE, Ledger, Tally
from runtime.pipeline import MOST_IN_FLIGHT
from runtime.sources.reopening import ReopeningSource
from tests.apps.bright import Film, Running, Seer, Stage


class Slow(Seer):
    """Takes longer than the camera from frame to frame."""

    def infer(self, frame: Frame) -> Any:
        time.sleep(0.02)
        return super().infer(frame)


class Late(Seer):
    """Takes its time to prepare, so that the camera's own newest frame is replaced too."""

    def prepare(self, frame: Frame) -> Frame:
        time.sleep(0.02)
        return frame


@pytest.fixture
def films() -> list[Film]:
    return []


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, films: list[Film]) -> Stage:
    def camera() -> ReopeningSource:
        films.append(film := Film(None, "camera"))
        return ReopeningSource("camera", lambda: film, film)

    made = Stage({"slow.tflite": Slow, "late.tflite": Late}, {"camera": camera, "other": camera})
    monkeypatch.setattr("apps.session.Detector.open", made.open_model)
    monkeypatch.setattr("apps.session.open_lasting", made.open_source)
    return made


def check(figures: Figures) -> None:
    assert figures.captured == figures.frames + sum(figures.left_out.values()) + figures.in_flight
    assert figures.dropped == sum(figures.left_out.values())
    assert 0 <= figures.in_flight <= MOST_IN_FLIGHT


def test_the_sum_is_right_at_every_moment_through_all_changes(stage: Stage, films: list[Film]) -> None:
    session = stage.session("slow.tflite", "camera", "--also-model", "late.tflite", "--also-source", "other")
    with Running(session) as running:
        running.wait(lambda: running.newest().figures.left_out.get(NEWER, 0) > 10)
        session._governing.apply(Level(0.5))
        running.wait(lambda: running.newest().figures.left_out.get(GOVERNOR, 0) > 10)
        session._governing.apply(Level())
        session.change({"model": "late"})
        running.wait(lambda: running.newest().figures.left_out.get(CAMERA, 0) > 10)
        before = running.notebook.moments[-1].figures
        session.change({"source": "other"})
        running.wait(lambda: running.newest().figures.captured > before.captured + 20)
        after = running.newest().figures
    moments = running.notebook.moments
    for moment in moments:
        check(moment.figures)
    assert [moment.figures.frames for moment in moments] == list(range(1, len(moments) + 1))
    assert all(after.left_out[reason] >= count for reason, count in before.left_out.items())
    tally = session._gauges.tally
    assert tally.results == len(moments)
    # Each camera may hold one frame that nobody has asked for yet.
    assert 0 <= sum(film._next for film in films) - tally.captured <= len(films)
    assert tally.in_flight == 0
    assert 0 < tally.left_out.get(CHANGE, 0) <= 3 * MOST_IN_FLIGHT


def test_a_limit_that_was_asked_for_is_no_fault_of_the_board(stage: Stage) -> None:
    session = stage.session("slow.tflite", "camera", "--max-fps", "10")
    with Running(session) as running:
        running.wait(lambda: running.newest().figures.left_out.get(RATE, 0) > 20)
        figures = running.newest().figures
        check(figures)
        assert GOVERNOR not in figures.left_out


def test_a_ledger_counts_and_settles() -> None:
    ledger = Ledger()
    for _ in range(5):
        ledger.capture()
    ledger.finish()
    ledger.leave_out(NEWER)
    assert ledger.tally() == Tally(5, 1, {NEWER: 1})
    assert ledger.tally().in_flight == 3
    ledger.settle()
    assert ledger.tally() == Tally(5, 1, {NEWER: 1, CHANGE: 3})
    assert ledger.tally().in_flight == 0
    ledger.settle()
    assert ledger.tally() + Tally(2, 0, {CAMERA: 2}) == Tally(7, 1, {NEWER: 1, CHANGE: 3, CAMERA: 2})
