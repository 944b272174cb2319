"""Crossings that count."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.scene.borders import Line, Zone
from apps.scene.geometry import Point, is_inside, on_right

NEVER_NEAR = -1.0
SQUARE = [(2.0, 2.0), (8.0, 2.0), (8.0, 8.0), (2.0, 8.0)]
place = st.tuples(st.integers(0, 10), st.integers(0, 10))
way = st.lists(place, min_size=1, max_size=30)


def crossings(line: Line, points: list[Point], near: float) -> list[str]:
    """What counts along a way, its end included."""
    found = [line.move(1, point, near, True) for point in points]
    return [crossing for crossing in [*found, line.end(1)] if crossing]


def visits(zone: Zone, points: list[Point], near: float) -> list[str]:
    return [visit for point in points if (visit := zone.move(1, point, near, True))]


@given(way)
def test_in_minus_out_is_the_side_it_ended_on(points: list[Point]) -> None:
    """A line as long as the world, so that nothing goes around its ends."""
    ends = [(-100.0, 5.0), (100.0, 5.0)]
    found = crossings(Line(ends), points, NEVER_NEAR)
    net = found.count("in") - found.count("out")
    assert net == on_right(points[-1], *ends) - on_right(points[0], *ends)
    assert all(one != other for one, other in pairwise(found))


@given(way, st.floats(0, 4))
def test_trembling_never_adds_and_never_falsifies_the_balance(points: list[Point], near: float) -> None:
    ends = [(-100.0, 5.0), (100.0, 5.0)]
    exact, calm = crossings(Line(ends), points, NEVER_NEAR), crossings(Line(ends), points, near)
    assert len(calm) <= len(exact)
    assert calm.count("in") - calm.count("out") == exact.count("in") - exact.count("out")
    assert calm[:1] == exact[:1]  # the first crossing counts at once


@given(way, st.floats(0, 2))
def test_entries_minus_exits_is_whether_it_is_inside(points: list[Point], near: float) -> None:
    exact, calm = visits(Zone(SQUARE), points, NEVER_NEAR), visits(Zone(SQUARE), points, near)
    assert exact.count("enter") - exact.count("leave") == is_inside(points[-1], SQUARE)
    assert len(calm) <= len(exact)
    far = [*points, (100.0, 100.0)]
    settled = visits(Zone(SQUARE), far, near)
    assert settled.count("enter") == settled.count("leave")


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([0, 10], ["in"]),
        ([10, 0], ["out"]),
        ([0, 5, 0], []),
        ([0, 5, 10], ["in"]),
        ([0, 10, 0], ["in", "out"]),
        ([0, 5.4, 4.6, 5.4, 4.6, 5.4, 10], ["in"]),
        ([0, 5.4, 4.6, 5.4, 4.6, 0], ["in", "out"]),
        ([0, 5.4, 4.6], ["in", "out"]),
        ([0, 5.4, 4.6, 5.4], ["in"]),
        ([0, 10, 5.4, 4.6, 5.4, 10], ["in", "out", "in"]),
    ],
    ids=[
        *(
            "crossed",
            "backwards",
            "touched",
            "stopped on it",
            "and back",
            "trembles through",
            "trembles and turns back",
        ),
        *("gone on this side", "gone on the other", "comes back and trembles"),
    ],
)
def test_one_object_at_a_line(heights: list[float], expected: list[str]) -> None:
    assert crossings(Line([(0.0, 5.0), (10.0, 5.0)]), [(4.0, y) for y in heights], near=1.0) == expected


def test_who_goes_around_the_end_has_not_crossed() -> None:
    line = Line([(0.0, 5.0), (10.0, 5.0)])
    around = [(5.0, 0.0), (12.0, 0.0), (12.0, 10.0), (5.0, 10.0)]
    assert crossings(line, [*around, (5.0, 0.0)], near=1.0) == ["out"]
    again = [(5.0, 0.0), (5.0, 10.0), (12.0, 10.0), (12.0, 0.0), (5.0, 0.0), (5.0, 10.0)]
    assert crossings(line, again, near=1.0) == ["in", "in"]


def test_what_does_not_count_yet_counts_from_where_it_was() -> None:
    """An object that is not sure enough crosses for nothing; once it is, it need not be found on this side first."""
    line = Line([(0.0, 5.0), (10.0, 5.0)])
    assert line.move(1, (5.0, 0.0), 1.0, counts=False) is None
    assert line.move(1, (5.0, 10.0), 1.0, counts=True) == "in"
    assert line.move(2, (5.0, 0.0), 1.0, counts=False) is None
    assert line.move(2, (5.0, 10.0), 1.0, counts=False) is None
    assert line.move(2, (5.0, 10.0), 1.0, counts=True) is None
