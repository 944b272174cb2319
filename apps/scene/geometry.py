"""Sides, crossings and distances in the plane; y grows downwards, as in pictures.

Points that lie exactly on a border belong to one side of it, always the same one, so that an object that touches a
border and turns back has not crossed it, and one that stops on it crosses it once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]


def on_right(point: Point, first: Point, second: Point) -> bool:
    """Whether a point is on the right-hand side for someone who walks from the first point to the second one."""
    return _turn(first, second, point) > 0


def passes_between(start: Point, end: Point, first: Point, second: Point) -> bool:
    """Whether the straight way from start to end, which changes sides, does so between two points or through one."""
    one, other = _turn(start, end, first), _turn(start, end, second)
    return (one <= 0 <= other) or (other <= 0 <= one)


def is_inside(point: Point, polygon: Sequence[Point]) -> bool:
    """Whether a point is in a polygon, by the even-odd rule; borders to the left and above belong to it."""
    x, y = point
    inside = False
    ax, ay = polygon[-1]
    for bx, by in polygon:
        if (ay > y) != (by > y) and x < ax + (bx - ax) * (y - ay) / (by - ay):
            inside = not inside
        ax, ay = bx, by
    return inside


def distance(point: Point, first: Point, second: Point) -> float:
    """From a point to the piece of line between two others."""
    dx, dy = second[0] - first[0], second[1] - first[1]
    length = dx * dx + dy * dy
    along = ((point[0] - first[0]) * dx + (point[1] - first[1]) * dy) / length if length else 0.0
    along = min(1.0, max(0.0, along))
    return math.hypot(point[0] - first[0] - along * dx, point[1] - first[1] - along * dy)


def border_distance(point: Point, polygon: Sequence[Point]) -> float:
    """From a point to the nearest place of a polygon's border."""
    return min(distance(point, polygon[index - 1], polygon[index]) for index in range(len(polygon)))


def _turn(first: Point, second: Point, point: Point) -> float:
    """Positive for a point on the right-hand side, negative on the left, 0 on the line."""
    return (second[0] - first[0]) * (point[1] - first[1]) - (second[1] - first[1]) * (point[0] - first[0])
