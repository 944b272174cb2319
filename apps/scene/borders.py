"""One line and one zone, in pixels: which objects cross them and when."""

from __future__ import annotations

from collections.abc import Sequence

from apps.scene.geometry import Point, border_distance, distance, is_inside, on_right, passes_between
from apps.scene.latch import Crossing, Latch, Visit


class Line:
    """A counting line.

    Args:
        points: Its two ends, pixels.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self._first, self._second = points
        self._places: dict[int, tuple[Point, bool]] = {}
        self._latches: dict[int, Latch[Crossing]] = {}

    def move(self, track_id: int, point: Point, near: float, counts: bool) -> Crossing | None:
        """An object was seen.

        Args:
            track_id: Which.
            point: Where.
            near: Pixels from the line up to which it may tremble.
            counts: Whether its crossings count.

        Returns:
            The crossing that counts now, if any.
        """
        right = on_right(point, self._first, self._second)
        last, was_right = self._places.get(track_id, (point, right))
        self._places[track_id] = point, right
        if not counts:
            return None
        found: Crossing | None = None
        if right != was_right and passes_between(last, point, self._first, self._second):
            latch = self._latches.setdefault(track_id, Latch())
            found = latch.cross("in" if right else "out")
        elif track_id not in self._latches:
            return None
        if distance(point, self._first, self._second) > near:
            found = self._latches.pop(track_id).settle() or found
        return found

    def end(self, track_id: int) -> Crossing | None:
        """An object is gone; returns the crossing that counts now, if any."""
        self._places.pop(track_id, None)
        latch = self._latches.pop(track_id, None)
        return latch.settle() if latch else None


class Zone:
    """A zone.

    Args:
        points: Its corners, pixels.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = points
        self._inside: dict[int, bool] = {}
        self._latches: dict[int, Latch[Visit]] = {}

    def move(self, track_id: int, point: Point, near: float, counts: bool) -> Visit | None:
        """An object was seen; see :meth:`Line.move`. One that is first seen inside has entered."""
        if not counts:
            return None
        inside = is_inside(point, self._points)
        found: Visit | None = None
        if inside != self._inside.get(track_id, False):
            latch = self._latches.setdefault(track_id, Latch())
            found = latch.cross("enter" if inside else "leave")
        self._inside[track_id] = inside
        if track_id in self._latches and border_distance(point, self._points) > near:
            found = self._latches.pop(track_id).settle() or found
        return found

    def end(self, track_id: int) -> None:
        """An object is gone."""
        self._inside.pop(track_id, None)
        self._latches.pop(track_id, None)
