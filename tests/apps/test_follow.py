"""Boxes between two results: on the object while it goes straight on, bounded where it turns."""

from __future__ import annotations

import numpy as np
import pytest

from apps.follow import Follower, as_seen
from runtime.detections import Detections
from runtime.frame import Frame
from tests.apps.bright import Film

GAP, SPEED, SIZE = 0.2, 75.0, 60.0  # seconds between results, pixels a second and pixels: slow network, quick object
PIXELS = np.zeros((4, 4, 3), np.uint8)


def frame(seconds: float, index: int = 0) -> Frame:
    return Frame(PIXELS, "bgr", "made", index, seconds)


def detection(x: float) -> Detections:
    return Detections(
        np.array([[x, 0, x + SIZE, SIZE]], np.float32), np.array([0.9], np.float32), np.array([0], np.int32)
    )


def stopping(seconds: float) -> float:
    """To the right for two seconds, then it stands."""
    return SPEED * min(2.0, seconds)


def test_what_stops_is_not_overshot_once_that_was_seen() -> None:
    follower = Follower(True)
    follower.start(Film(None))
    straight: list[float] = []
    bounded: list[float] = []
    free: list[float] = []
    for step in range(15):
        at = step * GAP
        follower.update(frame(at, step), detection(stopping(at)), 0.4, 1 / GAP)
        for part in (0.25, 0.5, 0.75, 1.0):
            # Shown one interval later, as with a network that takes so long.
            then = at + GAP * (1 + part)
            off = float(follower.expected(frame(then)).boxes[0, 0]) - stopping(then)
            if step >= 4 and then <= 2:
                straight.append(abs(off))
            elif at > 2.1:
                bounded.append(off)
                free.append(float(follower.tracker.predict(then).boxes[0, 0]) - stopping(then))
    assert max(straight) < 3
    assert max(free) > 12
    assert max(bounded) < 5


def test_a_box_moves_on_no_farther_than_it_is_large() -> None:
    follower = Follower(True)
    follower.start(Film(None))
    for step in range(8):
        follower.update(frame(step * GAP, step), detection(stopping(step * GAP)), 0.4, 1 / GAP)
    seen = stopping(7 * GAP)
    near, far = (float(follower.expected(frame(7 * GAP + later)).boxes[0, 0]) - seen for later in (0.4, 0.95))
    assert near == pytest.approx(0.4 * SPEED, abs=3)
    assert float(follower.tracker.predict(7 * GAP + 0.95).boxes[0, 0]) - seen > SIZE + 8
    assert far == pytest.approx(SIZE, abs=3)


def test_another_source_begins_anew() -> None:
    follower = Follower(True)
    follower.start(Film(None))
    for step in range(3):
        follower.update(frame(step * GAP, step), detection(0.0), 0.4, 1 / GAP)
    follower.start(Film(None))
    assert len(follower.expected(frame(1.0))) == 0


def test_what_is_shown_is_where_it_was_detected() -> None:
    """An object that turns is where it is, not where the filter comes to believe it some frames later."""
    follower = Follower(True)
    follower.start(Film(None))
    for step in range(8):
        found = detection(10.0 * step if step < 7 else 50.0)
        tracks, _ = follower.update(frame(step * GAP, step), found, 0.4, 1 / GAP)
    assert abs(tracks.boxes[0, 0] - found.boxes[0, 0]) > 1
    assert as_seen(tracks, found).boxes.tolist() == found.boxes.tolist()
    lost, _ = follower.update(frame(8 * GAP, 8), Detections.empty(), 0.4, 1 / GAP)
    assert len(lost) == 1
    assert as_seen(lost, Detections.empty()).boxes.tolist() == lost.boxes.tolist()
