"""Lines and zones over whole videos: made tracks, and a crowd whose every crossing is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from apps.moment import Count, Event, Shape
from apps.scene import Scene
from apps.scene.scene import Anchor
from runtime.detections import Detections
from runtime.track import Tracked, Tracker, TrackState
from tests.crowd import Truth, crowd, detected

LABELS = ("cat", "dog")
SIZE = (100, 100)
LINE = Shape("door", "line", ((0.0, 0.5), (1.0, 0.5)))
ZONE = Shape("yard", "zone", ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)))
SURE, DOUBTFUL, LOST = TrackState.CONFIRMED, TrackState.TENTATIVE, TrackState.LOST
# Track id, class id, foot point, state.
Row = tuple[int, int, tuple[float, float], TrackState]


def tracked(rows: Sequence[Row]) -> Tracked:
    """Boxes of 4 x 10 pixels whose lower edges' middles are at the points."""
    count = len(rows)
    boxes = [[x - 2, y - 10, x + 2, y] for _, _, (x, y), _ in rows]
    return Tracked(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.full(count, 0.9, np.float32),
        class_ids=np.array([row[1] for row in rows], np.int32),
        track_ids=np.array([row[0] for row in rows], np.int64),
        states=np.array([row[3] for row in rows], np.uint8),
        ages=np.ones(count, np.float32),
        unseen=np.zeros(count, np.float32),
        indices=np.arange(count, dtype=np.int32),
    )


def play(scene: Scene, frames: Sequence[Sequence[Row]], start: int = 0) -> list[Event]:
    """One frame a second; shown are the sure ones."""
    events: list[Event] = []
    for second, rows in enumerate(frames, start):
        tracks = tracked(rows)
        shown = tracks.states == SURE
        events += scene.update(tracks, shown, LABELS, SIZE, float(second), 1e9 + second)
    return events


def one(track_id: int, points: Sequence[tuple[float, float]], class_id: int = 0) -> list[list[Row]]:
    return [[(track_id, class_id, point, SURE)] for point in points]


def told(events: Sequence[Event]) -> list[tuple[str, str, str]]:
    return [(event.kind, event.direction, event.label) for event in events]


def only(scene: Scene) -> Count:
    (count,) = scene.counts()
    return count


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.set_shapes((LINE,))
    return made


@pytest.fixture
def yard() -> Scene:
    made = Scene(dwell=3.0)
    made.set_shapes((ZONE,))
    return made


def test_a_crossing_is_an_event_and_a_count(scene: Scene) -> None:
    (event,) = play(scene, one(7, [(50, 30), (50, 60)], class_id=1))
    assert event == Event(1, 1e9 + 1, "line", "door", "in", "dog", 7, event.score, (48, 50, 52, 60))
    assert only(scene) == Count("door", "line", {"dog": 1})
    (event,) = play(scene, one(7, [(50, 30)], class_id=1), start=2)
    assert (event.number, event.direction) == (2, "out")
    assert only(scene) == Count("door", "line", {"dog": 1}, {"dog": 1})


@pytest.mark.parametrize(("anchor", "crossed"), [("foot", 1), ("centre", 0)])
def test_an_object_is_where_its_anchor_is(anchor: Anchor, crossed: int) -> None:
    scene = Scene(anchor)
    scene.set_shapes((LINE,))
    assert len(play(scene, one(1, [(50, 48), (50, 53)]))) == crossed  # boxes of 10 pixels height


def test_lost_and_found_again_is_one_crossing(scene: Scene) -> None:
    """Where a lost track is expected says nothing; the way to where it is found does."""
    rows: list[list[Row]] = [
        [(1, 0, (50, 30), SURE)],
        [(1, 0, (50, 60), LOST)],
        [(1, 0, (50, 90), LOST)],
        [(1, 0, (50, 45), SURE)],
        [(1, 0, (50, 49), LOST)],
        [(1, 0, (50, 70), SURE)],
    ]
    assert told(play(scene, rows[:5])) == []
    assert told(play(scene, rows[5:], start=5)) == [("line", "in", "cat")]


def test_a_track_is_counted_from_its_first_detection_once_it_is_sure(scene: Scene) -> None:
    rows: list[list[Row]] = [[(1, 0, (50, 45), DOUBTFUL)], [(1, 0, (50, 55), SURE)]]
    assert told(play(scene, rows)) == [("line", "in", "cat")]
    never: list[list[Row]] = [[(2, 0, (50, 45), DOUBTFUL)], [(2, 0, (50, 55), DOUBTFUL)], []]
    assert told(play(scene, never, start=2)) == []


def test_classes_of_a_shape(scene: Scene) -> None:
    scene.set_shapes((Shape("door", "line", LINE.points, ("dog",)),))
    both: list[list[Row]] = [[(1, 0, (30, y), SURE), (2, 1, (70, y), SURE)] for y in (30.0, 60.0)]
    assert told(play(scene, both)) == [("line", "in", "dog")]


def test_a_visit(yard: Scene) -> None:
    """Enters, stays too long, leaves: dwell is told once, and its time is the visit's."""
    way = [(50, 10), (50, 50), (50, 55), (50, 55), (50, 50), (50, 50), (50, 95)]
    events = play(yard, one(1, [(float(x), float(y)) for x, y in way]))
    assert [(event.kind, event.when - 1e9, event.seconds) for event in events] == [
        ("enter", 1, 0),
        ("dwell", 4, 3),
        ("leave", 6, 5),
    ]
    assert only(yard) == Count("yard", "zone", {"cat": 1}, {"cat": 1}, {}, {"cat": 5.0})


def test_dwell_grows_while_somebody_is_inside(yard: Scene) -> None:
    rows: list[list[Row]] = [[(1, 0, (50, 50), SURE), (2, 1, (60, 50), SURE)]] * 3
    play(yard, rows)
    assert only(yard) == Count("yard", "zone", {"cat": 1, "dog": 1}, {}, {"cat": 1, "dog": 1}, {"cat": 2.0, "dog": 2.0})
    assert yard.tallies()["yard"].dwell_s == {"cat": 2.0, "dog": 2.0}


def test_a_track_that_ends_leaves_when_it_was_last_seen(yard: Scene) -> None:
    """It is told five seconds later, when it has not come up again."""
    rows: list[list[Row]] = [*one(1, [(50, 50)] * 3), [(1, 0, (50, 50), LOST)], [(1, 0, (50, 50), LOST)], []]
    assert told(play(yard, rows)) == [("enter", "", "cat")]
    assert only(yard) == Count("yard", "zone", {"cat": 1}, {}, {"cat": 1}, {"cat": 2.0})
    (event,) = play(yard, [[], [], [], []], start=6)
    assert (event.kind, event.seconds, event.when, event.track_id) == ("leave", 2, 1e9 + 8, 1)
    assert only(yard) == Count("yard", "zone", {"cat": 1}, {"cat": 1}, {}, {"cat": 2.0})


def test_one_that_comes_up_again_where_it_was_goes_on_with_its_visit(yard: Scene) -> None:
    """As another track: it was out of sight for longer than it is followed."""
    rows: list[list[Row]] = [*one(1, [(50, 50)] * 2), [], [], *one(2, [(52, 50)] * 2)]
    events = play(yard, rows)
    assert [(event.kind, event.track_id, event.seconds) for event in events] == [("enter", 1, 0), ("dwell", 2, 5)]
    assert only(yard) == Count("yard", "zone", {"cat": 1}, {}, {"cat": 1}, {"cat": 5.0})
    (event,) = play(yard, one(2, [(50, 95)]), start=6)
    assert (event.kind, event.track_id, event.seconds) == ("leave", 2, 6)
    assert only(yard) == Count("yard", "zone", {"cat": 1}, {"cat": 1}, {}, {"cat": 6.0})


@pytest.mark.parametrize(
    ("later", "rows"),
    [
        (3, one(2, [(50, 50)], class_id=1)),
        (3, one(2, [(75, 50)])),
        (9, one(2, [(50, 50)])),
        (3, one(2, [(50, 10), (50, 50)])),
    ],
    ids=["another class", "another place", "much later", "from outside"],
)
def test_what_comes_up_otherwise_has_entered(later: int, rows: list[list[Row]], yard: Scene) -> None:
    events = play(yard, one(1, [(50, 50)]))
    events += play(yard, [[]], start=1)
    events += play(yard, rows, start=later)
    assert [event.track_id for event in events if event.kind == "enter"] == [1, 2]


def test_reset_keeps_those_that_are_out_of_sight(yard: Scene) -> None:
    play(yard, [*one(1, [(50, 50)] * 3), []])
    yard.reset()
    assert only(yard) == Count("yard", "zone", {}, {}, {"cat": 1}, {"cat": 0.0})
    assert told(play(yard, one(2, [(50, 50)]), start=4)) == []
    assert only(yard).dwell_s == {"cat": 1.0}


def test_a_zone_that_is_moved_forgets_who_was_out_of_sight(yard: Scene) -> None:
    play(yard, [*one(1, [(50, 50)] * 3), []])
    yard.set_shapes((Shape("yard", "zone", ((0.1, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))),))
    assert only(yard) == Count("yard", "zone", {"cat": 1}, {}, {}, {"cat": 2.0})


def test_lost_inside_and_found_again_is_one_visit(yard: Scene) -> None:
    rows: list[list[Row]] = [*one(1, [(50, 50)]), [(1, 0, (95, 95), LOST)], *one(1, [(50, 50)])]
    assert told(play(yard, rows)) == [("enter", "", "cat")]
    assert only(yard).dwell_s == {"cat": 2.0}


def test_reset_starts_from_nothing_but_keeps_who_is_inside(yard: Scene) -> None:
    play(yard, one(1, [(50, 50)] * 3))
    yard.reset()
    assert only(yard) == Count("yard", "zone", {}, {}, {"cat": 1}, {"cat": 0.0})
    events = play(yard, one(1, [(50, 50), (50, 95)]), start=3)
    assert [(event.number, event.kind) for event in events] == [(2, "leave")]


def test_shapes_that_stay_go_on_counting(scene: Scene) -> None:
    play(scene, one(1, [(50, 30), (50, 60)]))
    scene.set_shapes((ZONE, LINE))
    assert [count.name for count in scene.counts()] == ["yard", "door"]
    assert scene.counts()[1].into == {"cat": 1}
    moved = Shape("door", "line", ((0.0, 0.4), (1.0, 0.4)))
    scene.set_shapes((moved,))
    assert only(scene).into == {"cat": 1}
    scene.set_shapes(())
    scene.set_shapes((LINE,))
    assert only(scene).into == {}


def test_another_resolution_keeps_counts_and_places(scene: Scene) -> None:
    play(scene, one(1, [(50, 30), (50, 60)]))
    tracks = tracked([(1, 0, (50, 120), SURE)])
    assert scene.update(tracks, np.ones(1, np.bool_), LABELS, (200, 200), 2.0, 0.0) == ()
    tracks = tracked([(1, 0, (50, 80), SURE)])
    (event,) = scene.update(tracks, np.ones(1, np.bool_), LABELS, (200, 200), 3.0, 0.0)
    assert event.direction == "out"
    assert only(scene).into == {"cat": 1}


def test_another_source_ends_all_visits(yard: Scene) -> None:
    play(yard, one(1, [(50, 50)] * 3))
    yard.forget()
    assert only(yard) == Count("yard", "zone", {"cat": 1}, {"cat": 1}, {}, {"cat": 2.0})
    assert told(play(yard, one(2, [(50, 50)]))) == [("enter", "", "cat")]


# A crowd of cards under a swaying camera: where each one is in each frame is known, and so is how often it crosses.
WIDTH, HEIGHT = 640, 360
MIDDLE = Shape("middle", "line", ((0.5, 0.0), (0.5, 1.0)))


def known_crossings(frames: Sequence[Truth], clear: float) -> dict[tuple[int, str], int]:
    """By card and direction, from positions alone: the order in which it was well left and well right of the middle.

    A card that lay under others for a second is another one when it comes up again, as for whoever watches.
    """
    sides: dict[tuple[int, int], list[str]] = {}
    last: dict[int, float] = {}
    lives: dict[int, int] = {}
    for frame in frames:
        for card, (x1, _, x2, _) in zip(frame.identities.tolist(), frame.boxes.tolist(), strict=True):
            off = (x1 + x2) / 2 - WIDTH / 2
            if frame.seconds - last.get(card, frame.seconds) > 1:
                lives[card] = lives.get(card, 0) + 1
            last[card] = frame.seconds
            identity = card, lives.get(card, 0)
            if abs(off) > clear:
                side = "left" if off < 0 else "right"
                way = sides.setdefault(identity, [])
                if not way or way[-1] != side:
                    way.append(side)
    counts: dict[tuple[int, str], int] = {}
    for (card, _), way in sides.items():
        for side in way[1:]:
            key = card, "out" if side == "right" else "in"  # downwards, the right hand is on the left
            counts[key] = counts.get(key, 0) + 1
    return counts


def counted(frames: Iterator[tuple[Truth, Detections]]) -> Count:
    scene, tracker = Scene(), Tracker()
    scene.set_shapes((MIDDLE,))
    for truth, found in frames:
        tracks = tracker.update(found, truth.seconds)
        shown = tracks.states == SURE
        scene.update(tracks, shown, ("card",), (WIDTH, HEIGHT), truth.seconds, 0.0)
    (count,) = scene.counts()
    return count


@pytest.mark.parametrize(
    ("missed", "jitter", "false", "off"), [(0.0, 0.0, 0.0, 0), (0.1, 0.02, 0.0, 2)], ids=["exact", "middling"]
)
def test_crossings_of_a_crowd_are_those_that_are_known(missed: float, jitter: float, false: float, off: int) -> None:
    frames = list(crowd(11, count=8, seconds=20, width=WIDTH, height=HEIGHT))
    known = known_crossings(frames, clear=12)
    for direction, found in zip(
        ("in", "out"), _totals(counted(detected(iter(frames), 11, missed, jitter, false))), strict=True
    ):
        expected = sum(number for (_, way), number in known.items() if way == direction)
        assert expected >= 5
        assert abs(found - expected) <= off


def _totals(count: Count) -> tuple[int, int]:
    return count.into.get("card", 0), count.out.get("card", 0)
