"""All lines and zones of a picture: counts, visits and events from tracks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from apps.moment import Count, Direction, Event, Shape
from apps.scene.borders import Line, Zone
from apps.scene.geometry import Point
from apps.scene.tally import Tally
from runtime.track import Tracked, TrackState

Anchor = Literal["foot", "centre"]
_NEAR = 0.1  # of a box's diagonal: so near to a border an object may seem to go to and fro
_RETURN_S = 5.0  # so long after it was last seen in a zone an object may come up again where it was
_SAME_PLACE = 1.0  # of its box's diagonal: as far as it may have moved meanwhile


@dataclass(slots=True)
class _Object:
    """What is known of a track: where and when it was last seen, and whether it was ever sure enough to be shown."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    seconds: float
    shown: bool


@dataclass(slots=True)
class _Visit:
    """An object's stay in a zone: since when, and whether it was told to be too long."""

    since: float
    told: bool = False


@dataclass(slots=True)
class _Absence:
    """A visit whose object is out of sight: it has left, unless it comes up again soon and near by."""

    seen: _Object
    visit: _Visit
    track_id: int

    def is_ended_by(self, other: _Object) -> bool:
        """Whether an object that has just come up is this one."""
        (x1, y1, x2, y2), (left, top, right, bottom) = self.seen.box, other.box
        apart = ((left + right - x1 - x2) ** 2 + (top + bottom - y1 - y2) ** 2) ** 0.5 / 2
        near = apart <= _SAME_PLACE * ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        return near and other.label == self.seen.label


class _Watch:
    """A shape with what happens at it."""

    def __init__(self, shape: Shape, tally: Tally, size: tuple[int, int]) -> None:
        points = [(x * size[0], y * size[1]) for x, y in shape.points]
        self.shape = shape
        self.tally = tally
        self.border = Line(points) if shape.kind == "line" else Zone(points)
        self.visits: dict[int, _Visit] = {}
        self.absences: list[_Absence] = []

    def resumed(self, seen: _Object) -> _Visit | None:
        """The visit that an object goes on with that was not there before, if any."""
        for absence in self.absences:
            if absence.is_ended_by(seen):
                self.absences.remove(absence)
                return absence.visit
        return None


class Scene:
    """Counts the objects that cross lines and the time they spend in zones.

    An object is where its anchor is: the middle of its box's lower edge (``foot``), where people and cars stand, or
    the middle of the box (``centre``). Only where it was really seen counts, not where a lost track is expected; when
    it is found again, the straight way in between is taken for its way. It counts once it was shown: its class
    chosen, its score above the chosen one.

    Args:
        anchor: Which point of a box stands for the object.
        dwell: Seconds in a zone that are too long, for an event; ``None`` for none.
        number: Of the next event.

    Attributes:
        number: Of the next event.
    """

    def __init__(self, anchor: Anchor = "foot", dwell: float | None = None, number: int = 1) -> None:
        self.number = number
        self._anchor = anchor
        self._dwell = dwell
        self._shapes: tuple[Shape, ...] = ()
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._watches: list[_Watch] = []
        self._size = (0, 0)
        self._objects: dict[int, _Object] = {}
        self._seconds = 0.0

    def set_shapes(self, shapes: tuple[Shape, ...], tallies: Mapping[str, Tally] | None = None) -> None:
        """Replaces the shapes; those that were there before, by name and kind, go on counting.

        Args:
            shapes: The new ones.
            tallies: Counts to begin with, by name.
        """
        kept = self._tallies
        self._tallies = {
            (shape.name, shape.kind): kept.get((shape.name, shape.kind)) or (tallies or {}).get(shape.name) or Tally()
            for shape in shapes
        }
        self._shapes = shapes
        old = {watch.shape: watch for watch in self._watches}
        self._watches = [
            old.get(shape) or _Watch(shape, self._tallies[shape.name, shape.kind], self._size) for shape in shapes
        ]
        for shape, watch in old.items():
            if shape not in shapes:
                self._finish(watch)

    def tallies(self) -> dict[str, Tally]:
        """Counts by name, the visits of those that are inside now included, for the state file."""
        kept = {}
        for watch in self._watches:
            dwell = watch.tally.count(watch.shape, self._visits(watch)).dwell_s
            kept[watch.shape.name] = Tally(watch.tally.into.copy(), watch.tally.out.copy(), dict(dwell))
        return kept

    def counts(self) -> tuple[Count, ...]:
        """The figures of all shapes at the last update."""
        return tuple(watch.tally.count(watch.shape, self._visits(watch)) for watch in self._watches)

    def reset(self) -> None:
        """Sets all counts to 0. Objects in a zone stay there, from now on."""
        for watch in self._watches:
            watch.tally.into.clear()
            watch.tally.out.clear()
            watch.tally.dwell_s.clear()
            for visit in (*watch.visits.values(), *(absence.visit for absence in watch.absences)):
                visit.since = self._seconds
            for absence in watch.absences:
                absence.seen.seconds = self._seconds

    def forget(self) -> None:
        """All objects are gone and time begins anew: another source."""
        for track_id in list(self._objects):
            for _ in self._ended(track_id, 0.0):
                pass
        for _ in self._left(0.0, float("inf")):
            pass
        self._seconds = 0.0

    def update(
        self,
        tracks: Tracked,
        shown: npt.NDArray[np.bool_],
        labels: tuple[str, ...],
        size: tuple[int, int],
        seconds: float,
        when: float,
    ) -> tuple[Event, ...]:
        """Takes in the tracks of one frame.

        Args:
            tracks: All of them, in pixels.
            shown: ``(n,)``, which are shown.
            labels: Class names by class index.
            size: Width and height of the frame.
            seconds: The frame's time on the tracker's clock; must not go back without :meth:`forget`.
            when: The frame's time since 1970.

        Returns:
            What happened.
        """
        if not self._watches:
            self._objects.clear()
            return ()
        if size != self._size:
            self._resize(size)
        self._seconds = seconds
        events: list[Event] = []
        ids = tracks.track_ids.tolist()
        present = set(ids)
        for track_id in [known for known in self._objects if known not in present]:
            events += self._ended(track_id, when)
        events += self._left(when, seconds)
        rows = zip(
            ids,
            tracks.states.tolist(),
            tracks.boxes.tolist(),
            tracks.scores.tolist(),
            tracks.class_ids.tolist(),
            shown.tolist(),
            strict=True,
        )
        for track_id, state, box, score, class_id, is_shown in rows:
            if state != TrackState.LOST:
                known = self._objects.get(track_id)
                was_shown = known is not None and known.shown
                seen = _Object(labels[class_id], score, tuple(box), seconds, is_shown or was_shown)
                self._objects[track_id] = seen
                events += self._moved(track_id, seen, when, fresh=not was_shown)
        return tuple(events)

    def _moved(self, track_id: int, seen: _Object, when: float, fresh: bool) -> Iterator[Event]:
        x1, y1, x2, y2 = seen.box
        point: Point = ((x1 + x2) / 2, y2 if self._anchor == "foot" else (y1 + y2) / 2)
        near = _NEAR * ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        for watch in self._watches:
            counts = seen.shown and (not watch.shape.classes or seen.label in watch.shape.classes)
            crossed = watch.border.move(track_id, point, near, counts)
            if crossed == "enter" and fresh and (visit := watch.resumed(seen)):
                watch.visits[track_id] = visit
            elif crossed:
                yield self._happened(watch, crossed, track_id, seen, when)
            elif self._dwell and (visit := watch.visits.get(track_id)) and not visit.told:
                stayed = seen.seconds - visit.since
                if stayed >= self._dwell:
                    visit.told = True
                    yield self._event(watch, "dwell", "", track_id, seen, when, stayed)

    def _ended(self, track_id: int, when: float) -> Iterator[Event]:
        """A track is gone: it left its zones when it was last seen, unless it comes up again."""
        seen = self._objects.pop(track_id)
        for watch in self._watches:
            crossed = watch.border.end(track_id)
            if crossed:
                yield self._happened(watch, crossed, track_id, seen, when)
            elif track_id in watch.visits:
                watch.absences.append(_Absence(seen, watch.visits.pop(track_id), track_id))

    def _left(self, when: float, seconds: float) -> Iterator[Event]:
        """Ends the visits of objects that have not come up again."""
        for watch in self._watches:
            for absence in [one for one in watch.absences if seconds - one.seen.seconds > _RETURN_S]:
                watch.absences.remove(absence)
                watch.visits[absence.track_id] = absence.visit
                yield self._happened(watch, "leave", absence.track_id, absence.seen, when)

    def _happened(
        self, watch: _Watch, what: Literal["in", "out", "enter", "leave"], track_id: int, seen: _Object, when: float
    ) -> Event:
        """Counts a crossing, an entry or an exit."""
        tally = watch.tally.into if what in ("in", "enter") else watch.tally.out
        tally[seen.label] += 1
        if what == "in" or what == "out":
            return self._event(watch, "line", what, track_id, seen, when)
        if what == "enter":
            watch.visits[track_id] = _Visit(seen.seconds)
            return self._event(watch, "enter", "", track_id, seen, when)
        visit = watch.visits.pop(track_id, None)
        stayed = seen.seconds - visit.since if visit else 0.0
        watch.tally.stayed(seen.label, stayed)
        return self._event(watch, "leave", "", track_id, seen, when, stayed)

    def _event(
        self,
        watch: _Watch,
        kind: Literal["line", "enter", "leave", "dwell"],
        direction: Direction,
        track_id: int,
        seen: _Object,
        when: float,
        seconds: float = 0.0,
    ) -> Event:
        number, self.number = self.number, self.number + 1
        return Event(
            number, when, kind, watch.shape.name, direction, seen.label, track_id, seen.score, seen.box, seconds
        )

    def _visits(self, watch: _Watch) -> dict[str, tuple[int, float]]:
        """Those inside now: how many, and their seconds so far, by class."""
        found: dict[str, tuple[int, float]] = {}
        inside = [(self._objects[track_id], visit) for track_id, visit in watch.visits.items()]
        for seen, visit in [*inside, *((absence.seen, absence.visit) for absence in watch.absences)]:
            number, seconds = found.get(seen.label, (0, 0.0))
            found[seen.label] = number + 1, seconds + seen.seconds - visit.since
        return found

    def _finish(self, watch: _Watch) -> None:
        """A shape is taken away or moved: the visits to it end, without being told or counted as exits."""
        for label, (_, seconds) in self._visits(watch).items():
            watch.tally.stayed(label, seconds)
        watch.visits.clear()
        watch.absences.clear()

    def _resize(self, size: tuple[int, int]) -> None:
        for watch in self._watches:
            self._finish(watch)
        self._size = size
        self._watches = [_Watch(watch.shape, watch.tally, size) for watch in self._watches]
