"""Sides, crossings and insides against exact fractions and OpenCV."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.scene.geometry import Point, border_distance, distance, is_inside, on_right, passes_between

# Whole numbers in a small square: points on lines, on corners and on each other come up all the time.
place = st.tuples(st.integers(0, 8), st.integers(0, 8))


@pytest.mark.parametrize(
    ("point", "right"),
    [((5, 9), True), ((5, 1), False), ((5, 5), False), ((20, 6), True)],
    ids=["below", "above", "on it", "beyond its end"],
)
def test_walking_to_the_right_the_right_hand_is_below(point: Point, right: bool) -> None:
    assert on_right(point, (0, 5), (10, 5)) is right
    if point[1] != 5:
        assert on_right(point, (10, 5), (0, 5)) is not right


@given(place, place, place, place)
def test_ways_that_change_sides_cross_where_equations_say(
    start: Point, end: Point, first: Point, second: Point
) -> None:
    """Solves start + s (end - start) = first + t (second - first) exactly."""
    if first == second or on_right(start, first, second) == on_right(end, first, second):
        return
    dx, dy = end[0] - start[0], end[1] - start[1]
    ex, ey = second[0] - first[0], second[1] - first[1]
    # Sides differ, so the two directions are not parallel and the equations have one solution.
    t = Fraction(dx * (start[1] - first[1]) - dy * (start[0] - first[0])) / Fraction(dx * ey - dy * ex)
    assert passes_between(start, end, first, second) == (0 <= t <= 1)


@given(st.lists(place, min_size=3, max_size=7, unique=True), place)
def test_insides_are_those_of_opencv(polygon: list[Point], point: Point) -> None:
    """OpenCV goes by the even-odd rule too; on borders the two may differ."""
    contour = np.array(polygon, np.float32)
    where = cv2.pointPolygonTest(contour, (float(point[0]), float(point[1])), measureDist=False)
    if where != 0:
        assert is_inside(point, polygon) == (where > 0)
    else:
        assert border_distance(point, polygon) == pytest.approx(0, abs=1e-6)


@given(place)
def test_every_point_is_in_exactly_one_half_of_a_square(point: Point) -> None:
    """Zones that share a border never count an object twice."""
    halves = [[(0, 0), (8, 0), (0, 8)], [(8, 0), (8, 8), (0, 8)]]
    inside = [is_inside(point, half) for half in halves]
    assert sum(inside) == (point[0] < 8 and point[1] < 8)


@given(place, place, place)
def test_distance_is_the_least_of_many(point: Point, first: Point, second: Point) -> None:
    shares = np.linspace(0, 1, 2001)
    x = first[0] + shares * (second[0] - first[0]) - point[0]
    y = first[1] + shares * (second[1] - first[1]) - point[1]
    assert distance(point, first, second) == pytest.approx(np.hypot(x, y).min(), abs=0.01)
