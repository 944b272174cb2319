"""Tracks: ids that stay, states, ends, and boxes in between."""

from __future__ import annotations

import doctest
import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime.track.options
import runtime.track.tracker
from runtime import Detections, Frame, InputError
from runtime.detections import StageMs
from runtime.track import Tracked, Tracker, TrackOptions, TrackState

FPS = 30.0


def seen(boxes: Any, scores: Any = None, classes: Any = None) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(
        corners,
        np.full(len(corners), 0.9, np.float32) if scores is None else np.array(scores, np.float32),
        np.zeros(len(corners), np.int32) if classes is None else np.array(classes, np.int32),
    )


def box(x: float, y: float = 100.0, size: float = 40.0) -> list[float]:
    return [x - size / 2, y - size / 2, x + size / 2, y + size / 2]


def by_id(tracks: Tracked) -> dict[int, list[float]]:
    return dict(zip(tracks.track_ids.tolist(), tracks.boxes.tolist(), strict=True))


def middle_x(tracks: Tracked) -> list[float]:
    return [float(x) for x in (tracks.boxes[:, 0] + tracks.boxes[:, 2]) / 2]


def test_a_life() -> None:
    """Tentative, confirmed, lost, found again, lost, gone."""
    tracker = Tracker(TrackOptions(confirm=3, keep_lost=0.5))
    states = []
    for step in range(40):
        found = step < 10 or 15 <= step < 20
        tracks = tracker.update(seen([box(100 + 3 * step)] if found else []), step / FPS)
        states.append(TrackState(int(tracks.states[0])).name if len(tracks) else "-")
        if len(tracks):
            assert tracks.track_ids.tolist() == [1]
            assert tracks.ages[0] == pytest.approx(step / FPS, abs=1e-5)
            assert tracks.indices.tolist() == [0 if found else -1]
            assert (tracks.unseen[0] == 0) == found
            assert middle_x(tracks)[0] == pytest.approx(100 + 3 * step, abs=3)
    expected = ["TENTATIVE"] * 2 + ["CONFIRMED"] * 8 + ["LOST"] * 5 + ["CONFIRMED"] * 5 + ["LOST"] * 15 + ["-"] * 5
    assert states == expected
    assert len(tracker) == 0


def test_a_tentative_track_ends_with_its_first_miss_and_its_id_is_not_used_again() -> None:
    tracker = Tracker()
    assert tracker.update(seen([box(50)]), 0.0).track_ids.tolist() == [1]
    assert len(tracker.update(seen([]), 0.1)) == 0
    assert tracker.update(seen([box(50)]), 0.2).track_ids.tolist() == [2]


def test_one_detection_can_be_enough() -> None:
    tracks = Tracker(TrackOptions(confirm=1)).update(seen([box(50)]), 0.0)
    assert tracks.states.tolist() == [TrackState.CONFIRMED]


@pytest.mark.parametrize(
    ("score", "starts", "goes_on"),
    [(0.9, True, True), (0.4, True, True), (0.3, False, True), (0.1, False, True), (0.05, False, False)],
)
def test_scores(score: float, starts: bool, goes_on: bool) -> None:
    assert bool(len(Tracker().update(seen([box(50)], [score]), 0.0))) == starts
    tracker = Tracker()
    for step in range(3):
        tracker.update(seen([box(50)]), step / FPS)
    tracks = tracker.update(seen([box(50)], [score]), 3 / FPS)
    assert tracks.states.tolist() == [TrackState.CONFIRMED if goes_on else TrackState.LOST]
    assert tracks.scores[0] == pytest.approx(score if goes_on else 0.9)


def test_sure_detections_choose_first() -> None:
    """A doubtful detection that fits better does not take the track from a sure one, nor does it find a lost track."""
    tracker = Tracker()
    for step in range(3):
        tracker.update(seen([box(50)]), step / FPS)
    tracks = tracker.update(seen([box(56), box(50)], [0.8, 0.3]), 3 / FPS)
    assert tracks.indices.tolist() == [0]
    tracker.update(seen([]), 4 / FPS)
    assert tracker.update(seen([box(50)], [0.3]), 5 / FPS).states.tolist() == [TrackState.LOST]
    assert tracker.update(seen([box(50)], [0.6]), 6 / FPS).states.tolist() == [TrackState.CONFIRMED]


@pytest.mark.parametrize("per_class", [True, False])
def test_classes(per_class: bool) -> None:
    tracker = Tracker(TrackOptions(per_class=per_class))
    for step in range(3):
        tracker.update(seen([box(50)], classes=[2]), step / FPS)
    tracks = tracker.update(seen([box(50)], classes=[5]), 3 / FPS)
    assert sorted(zip(tracks.track_ids.tolist(), tracks.class_ids.tolist(), strict=True)) == (
        [(1, 2), (2, 5)] if per_class else [(1, 5)]
    )


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_tracks_of_a_class_know_nothing_of_other_classes(seed: int) -> None:
    """Two classes on top of each other are tracked as each alone would be."""
    random = np.random.default_rng(seed)
    both, alone = Tracker(), [Tracker(), Tracker()]
    for step in range(12):
        found = wandering(random, step, 6)
        tracks = both.update(found, step / FPS)
        for class_id, tracker in enumerate(alone):
            mine = found.class_ids == class_id
            other = tracker.update(Detections(found.boxes[mine], found.scores[mine], found.class_ids[mine]), step / FPS)
            some = tracks.take(tracks.class_ids == class_id)
            np.testing.assert_array_equal(some.boxes, other.boxes)
            np.testing.assert_array_equal(some.states, other.states)
            np.testing.assert_array_equal(some.ages, other.ages)


def wandering(random: np.random.Generator, step: int, count: int) -> Detections:
    """Objects on a small table, so that they meet; some are not found, some not sure."""
    number = np.arange(count)
    x = 60 + 50 * np.sin(0.1 * step * (1 + number / 7) + number)
    y = 60 + 50 * np.cos(0.07 * step * (1 + number / 5) + 2 * number)
    middle = np.stack([x, y], axis=1) + random.normal(0, 1, (count, 2))
    size = 15 + number[:, None] + random.normal(0, 0.5, (count, 2))
    boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1)
    found = random.random(count) < 0.9
    scores = random.uniform(0.2, 1, count)
    return seen(boxes[found], scores[found], (number % 2)[found])


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_the_order_of_detections_does_not_matter(seed: int) -> None:
    random, shuffle = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    straight, mixed = Tracker(), Tracker()
    for step in range(15):
        found = wandering(random, step, 10)
        order = shuffle.permutation(len(found))
        tracks = straight.update(found, step / FPS)
        again = mixed.update(Detections(found.boxes[order], found.scores[order], found.class_ids[order]), step / FPS)
        for name in ("track_ids", "boxes", "scores", "class_ids", "states", "ages", "unseen"):
            np.testing.assert_array_equal(getattr(tracks, name), getattr(again, name))
        with_one = again.indices >= 0
        np.testing.assert_array_equal(tracks.indices >= 0, with_one)
        np.testing.assert_array_equal(tracks.indices[with_one], order[again.indices[with_one]])
        assert len(set(tracks.track_ids.tolist())) == len(tracks)


@settings(max_examples=60)
@given(
    st.floats(-4, 4),
    st.floats(-4, 4),
    st.floats(20, 200),
    st.floats(0, 1),
    st.sampled_from([5.0, 15.0, 30.0, 60.0]),
)
def test_a_steady_object_keeps_its_id_through_a_gap(
    speed_x: float, speed_y: float, size: float, gap: float, fps: float
) -> None:
    """Up to 4 sizes per second, seen for two seconds, then not; at most 0.95 s lie between two detections."""
    tracker = Tracker(TrackOptions(keep_lost=1.0, confirm=1))
    limit = 0.75 * fps  # sizes per second at which two boxes of successive frames still overlap enough
    speed = np.clip([speed_x, speed_y], -limit / 2, limit / 2) * size
    start, missed = round(2 * fps), int(gap * (0.95 * fps - 1))
    for index in range(round(4 * fps)):
        x, y = speed * index / fps
        found = not start <= index < start + missed
        tracks = tracker.update(seen([box(x, y, size)] if found else []), index / fps)
        assert tracks.track_ids.tolist() == [1]
    assert middle_x(tracks)[0] == pytest.approx(x, abs=0.05 * size)


@settings(max_examples=60)
@given(st.floats(1.0, 4.0), st.floats(-1.0, 1.0), st.floats(-0.5, 0.5), st.integers(0, 2**32))
def test_crossing_objects_keep_their_ids(speed: float, up: float, ahead: float, seed: int) -> None:
    """One from the left, one from the right, through each other; a speed is in sizes per second."""
    random, size = np.random.default_rng(seed), 50.0
    tracker = Tracker()
    ids: list[list[int]] = []
    for step in range(91):
        away = (step - 45) / FPS * size
        places = [(away * speed, away * up), (-away * speed + ahead * size, -away * up)]
        order = random.permutation(2)
        boxes = [box(places[i][0], places[i][1], size) for i in order]
        tracks = tracker.update(seen(boxes), step / FPS)
        owner = {int(order[index]): int(name) for index, name in zip(tracks.indices, tracks.track_ids, strict=True)}
        ids.append([owner[0], owner[1]])
    assert ids[0] == ids[-1]
    assert sorted(ids[0]) == [1, 2]


def test_motion_is_per_second() -> None:
    """Half of the frames, dropped anyhow, and the same motion: the same places between them."""
    random = np.random.default_rng(3)
    tracker = Tracker()
    captured = 0.0
    for step in range(120):
        captured = step / FPS
        if step < 4 or random.random() < 0.5:
            tracker.update(seen([box(120 * captured)]), captured)
        else:
            between = tracker.predict(captured)
            if step > 20:
                assert middle_x(between)[0] == pytest.approx(120 * captured, abs=1.5)


def test_predictions() -> None:
    tracker = Tracker(TrackOptions(keep_lost=0.5))
    assert len(tracker.predict(3.0)) == 0
    for step in range(11):
        tracks = tracker.update(seen([box(6 * step), box(300 - 6 * step, 300)], [0.9, 0.8]), step / 10)
    assert middle_x(tracks) == pytest.approx([60, 240], abs=0.5)
    later = tracker.predict(1.2)
    assert middle_x(later) == pytest.approx([72, 228], abs=0.5)
    assert later.track_ids.tolist() == tracks.track_ids.tolist()
    assert later.states.tolist() == [TrackState.CONFIRMED] * 2
    assert later.ages == pytest.approx([1.2, 1.2])
    assert later.unseen == pytest.approx([0.2, 0.2])
    assert later.indices.tolist() == [-1, -1]
    # Back to the moment of the update, and before it: a prediction changes nothing.
    np.testing.assert_array_equal(tracker.predict(1.0).boxes, tracks.boxes)
    assert middle_x(tracker.predict(0.9)) == pytest.approx([54, 246], abs=0.5)
    assert len(tracker.predict(-0.1)) == 0
    assert len(tracker.predict(1.49)) == 2
    assert len(tracker.predict(1.51)) == 0
    assert len(tracker) == 2


def test_equal_times() -> None:
    """A second detector on the same frame: the same tracks."""
    tracker = Tracker()
    for step in range(5):
        first = tracker.update(seen([box(100)]), step / FPS)
        second = tracker.update(seen([box(101)]), step / FPS)
        assert first.track_ids.tolist() == second.track_ids.tolist() == [1]
        assert np.isfinite(second.boxes).all()


@pytest.mark.parametrize(
    ("found", "captured", "seen_text"),
    [
        (seen([box(1)]), 0.9, "the capture time is 0.9 s, after an update at 1 s"),
        (seen([box(1)]), math.nan, "the capture time is nan"),
        (seen([box(1)]), math.inf, "the capture time is inf"),
        (seen([[0, 0, math.nan, 1]]), 2.0, "a box is no rectangle"),
        (seen([[0, 0, math.inf, 1]]), 2.0, "a box is no rectangle"),
        (seen([[5, 0, 4, 1]]), 2.0, "a box is no rectangle"),
        (seen([box(1)], [math.nan]), 2.0, "a score is not in 0..1"),
        (seen([box(1)], [1.5]), 2.0, "a score is not in 0..1"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(found: Detections, captured: float, seen_text: str) -> None:
    tracker = Tracker()
    before = tracker.update(seen([box(50)]), 1.0)
    with pytest.raises(InputError) as caught:
        tracker.update(found, captured)
    assert caught.value.seen.startswith(seen_text)
    assert "\n" not in caught.value.line()
    after = tracker.predict(1.0)
    assert by_id(after) == by_id(before)
    assert tracker.update(seen([box(50)]), 1.1).track_ids.tolist() == [1]


def test_a_prediction_for_no_time_is_refused() -> None:
    with pytest.raises(InputError, match="capture time is nan"):
        Tracker().predict(math.nan)


def test_reset_takes_any_time_and_new_ids() -> None:
    tracker = Tracker()
    tracker.update(seen([box(50)]), 100.0)
    tracker.reset()
    assert len(tracker) == 0
    assert tracker.update(seen([box(50)]), 0.0).track_ids.tolist() == [2]


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_anything_goes_in_and_numbers_come_out(seed: int) -> None:
    """Empty boxes, huge ones, many at one place, long and no gaps between updates."""
    random = np.random.default_rng(seed)
    tracker = Tracker(TrackOptions(confirm=int(random.integers(1, 4)), match_iou=float(random.choice([0, 0.2, 0.9]))))
    captured = float(random.uniform(-1e6, 1e6))
    for _ in range(25):
        captured += float(random.choice([0, 1e-9, 0.03, 0.9, 1e4]))
        corner = random.choice([0, 5, 300, -1e6, 9e5], (int(random.integers(0, 12)), 2))
        size = random.choice([0, 1e-6, 10, 12, 1e5], corner.shape)
        scores, classes = random.random(len(corner)), random.integers(0, 2, len(corner))
        found = seen(np.concatenate([corner, corner + size], axis=1), scores, classes)
        for tracks in (tracker.update(found, captured), tracker.predict(captured + 0.5)):
            assert np.isfinite(tracks.boxes).all()
            assert (tracks.boxes[:, 2:] >= tracks.boxes[:, :2]).all()
            assert (tracks.ages >= 0).all()
            assert set(tracks.states.tolist()) <= set(TrackState)
            assert all(a >= b for a, b in pairwise(tracks.scores.tolist()))


def test_memory_is_bounded() -> None:
    """Hours of false detections: what is remembered is what was seen within ``keep_lost``."""
    random = np.random.default_rng(0)
    tracker = Tracker(TrackOptions(confirm=1, keep_lost=1.0))
    most = 0
    for step in range(1500):
        corner = random.uniform(0, 5000, (5, 2))
        tracker.update(seen(np.concatenate([corner, corner + 20], axis=1)), step / FPS)
        most = max(most, len(tracker))
    assert 100 < most <= 5 * 32
    for step in range(1500, 1540):
        tracker.update(Detections.empty(), step / FPS)
    assert len(tracker) == 0


def test_a_result_is_detections() -> None:
    tracker = Tracker()
    timed = seen([box(50), box(200)], [0.6, 0.9], [1, 0])
    timed.ms = StageMs(1, 2, 3)
    tracker.update(timed, 0.0)
    tracks = tracker.update(timed, 0.1)
    assert isinstance(tracks, Detections)
    assert len(tracks) == 2
    assert list(tracks.ms) == [1, 2, 3]
    kinds = {name: getattr(tracks, name).dtype.name for name in ("boxes", "scores", "class_ids", "track_ids", "states")}
    assert kinds == {
        "boxes": "float32",
        "scores": "float32",
        "class_ids": "int32",
        "track_ids": "int64",
        "states": "uint8",
    }
    frame = Frame(np.zeros((240, 320, 3), np.uint8), index=4)
    document = json.loads(json.dumps(tracks.to_dict(frame, ("cat", "dog"))))
    assert document["frame"] == 4
    assert document["detections"][0] == {
        "label": "cat",
        "class_id": 0,
        "score": 0.9,
        "box": [180, 80, 220, 120],
        "track_id": 1,
        "state": "confirmed",
        "age": 0.1,
    }


def test_confirmed_and_clipped() -> None:
    tracker = Tracker()
    tracker.update(seen([box(10), box(-100)]), 0.0)
    tracks = tracker.update(seen([box(10), box(-100), box(200)]), 0.1)
    assert sorted(tracks.states.tolist()) == [TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.CONFIRMED]
    sure = tracks.confirmed()
    assert sorted(middle_x(sure)) == [-100, 10]
    inside = sure.clipped(320, 110)
    assert inside.boxes.tolist() == [[0, 80, 30, 110]]
    assert sure.boxes.min() < 0
    assert inside.track_ids.tolist() == [name for name, corners in by_id(sure).items() if corners[2] > 0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"high_score": 1.2}, "high_score is 1.2"),
        ({"high_score": math.nan}, "high_score is nan"),
        ({"low_score": -0.1}, "low_score is -0.1"),
        ({"low_score": 0.6, "high_score": 0.5}, "low_score 0.6 is above high_score 0.5"),
        ({"match_iou": 1.0}, "match_iou is 1.0"),
        ({"match_iou": -0.1}, "match_iou is -0.1"),
        ({"keep_lost": 0}, "keep_lost is 0"),
        ({"keep_lost": math.inf}, "keep_lost is inf"),
        ({"keep_lost": math.nan}, "keep_lost is nan"),
        ({"confirm": 0}, "confirm is 0"),
        ({"confirm": 1.5}, "confirm is 1.5"),
        ({"confirm": math.nan}, "confirm is nan"),
        ({"confirm": math.inf}, "confirm is inf"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        TrackOptions(**options)
    assert caught.value.line().startswith(f"error: {text}; expected ")
    assert caught.value.action


@pytest.mark.parametrize("module", [runtime.track.options, runtime.track.tracker])
def test_examples(module: Any) -> None:
    done = doctest.testmod(module)
    assert done.attempted
    assert not done.failed
