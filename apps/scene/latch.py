"""Counting that jitter does not fool."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

Way = TypeVar("Way", bound=str)


class Latch(Generic[Way]):
    """Says which crossings of one border by one object count.

    A crossing counts at once. As long as the object stays near the border, nothing more does: its box trembles, and
    it may seem to go to and fro. When it is clear of the border, or gone, it has either stayed on the new side, or
    gone back for good, and then that counts as well. So counts are never late, and what came in minus what went out
    is always right for objects that are clear.
    """

    __slots__ = ("_latest", "open")

    def __init__(self) -> None:
        self.open: Way | None = None
        self._latest: Way | None = None

    def cross(self, way: Way) -> Way | None:
        """Takes a crossing; returns it when it counts."""
        self._latest = way
        if self.open is not None:
            return None
        self.open = way
        return way

    def settle(self) -> Way | None:
        """The object is clear of the border, or gone. Returns the way it went back, when it did."""
        late = self._latest if self.open is not None and self._latest != self.open else None
        self.open = None
        return late


Crossing = Literal["in", "out"]
Visit = Literal["enter", "leave"]
