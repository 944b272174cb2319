"""The newest events with their pictures, in memory and bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from apps.moment import Event, Moment
from apps.server.encode import thumbnail

_MOST = 200


class Book:
    """Remembers the last 200 events; safe from any thread.

    Attributes:
        newest: Number of the newest event; 0 before the first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, tuple[Event, bytes]] = OrderedDict()
        self.newest = 0

    def add(self, moment: Moment) -> None:
        """Takes a moment's events."""
        made = [(event, thumbnail(moment, event.box)) for event in moment.events[-_MOST:]]
        with self._lock:
            for event, picture in made:
                self._kept[event.number] = (event, picture)
                self.newest = max(self.newest, event.number)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)

    def picture(self, number: int) -> bytes:
        """The JPEG of an event; empty when there is none (any more)."""
        with self._lock:
            return self._kept[number][1] if number in self._kept else b""

    def after(self, number: int, clip: Callable[[int], str | None]) -> list[dict[str, Any]]:
        """Events after one, newest first, as plain data.

        Args:
            number: Of the last event that is known already; 0 for all.
            clip: Name of an event's clip among the media, if there is one.
        """
        with self._lock:
            kept = [(event, picture) for event, picture in self._kept.values() if event.number > number]
        return [
            asdict(event) | {"picture": bool(picture), "clip": clip(event.number)} for event, picture in reversed(kept)
        ]
