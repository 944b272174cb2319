"""What the live session hands to its outputs, and what the page may ask of the session.

These types are the border between the session (which detects, follows and counts), the outputs (which show, store and
send) and the page's server (which passes on what a viewer wants).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from runtime.detections import Detections
from runtime.frame import Frame

Direction = Literal["in", "out", ""]


@dataclass(frozen=True, slots=True)
class Shape:
    """A counting line or a zone, drawn by hand.

    Attributes:
        name: Unique among the shapes, 1 to 40 characters.
        kind: A line has two points, a zone three to 32.
        points: Each ``(x, y)`` in 0..1 of the picture's width and height, so that shapes outlive another resolution.
            Crossing a line towards the right-hand side, seen from its first to its second point, is ``in``.
        classes: Names of the classes that count; empty for all.
    """

    name: str
    kind: Literal["line", "zone"]
    points: tuple[tuple[float, float], ...]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """What a shape has counted since the counts were reset.

    Attributes:
        name: The shape's.
        kind: The shape's.
        into: Crossings ``in``, or entries into the zone, by class name.
        out: Crossings ``out``, or exits, by class name.
        inside: Objects in the zone now, by class name; empty for a line.
        dwell_s: Seconds objects have spent in the zone, all together, by class name; empty for a line.
    """

    name: str
    kind: Literal["line", "zone"]
    into: Mapping[str, int] = field(default_factory=dict)
    out: Mapping[str, int] = field(default_factory=dict)
    inside: Mapping[str, int] = field(default_factory=dict)
    dwell_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once.

    Attributes:
        number: Counts up from 1; never used again, a restart included.
        when: Seconds since 1970, of the frame's capture.
        kind: ``line`` (crossed), ``enter`` or ``leave`` (a zone), ``dwell`` (too long in a zone).
        shape: Name of the line or zone.
        direction: For a line.
        label: Class of the object.
        track_id: Which object.
        score: 0..1.
        box: ``x1, y1, x2, y2`` in pixels of the frame.
        seconds: For ``leave`` and ``dwell``: time spent in the zone.
    """

    number: int
    when: float
    kind: Literal["line", "enter", "leave", "dwell"]
    shape: str
    direction: Direction
    label: str
    track_id: int
    score: float
    box: tuple[float, float, float, float]
    seconds: float = 0.0


@dataclass(slots=True)
class Figures:
    """How the session is doing.

    Attributes:
        fps: Results per second over the last second or two.
        latency_ms: Median milliseconds from capture to result, likewise.
        dropped: Frames left out so far: the sum of ``left_out``.
        frames: Results so far.
        temperature: Of the processor, degrees Celsius; ``None`` where it cannot be told.
        throttled: What holds the board back now, in words; ``None`` where it cannot be told.
        source: ``live``, ``reopening`` (stopped; tried again) or ``ended``.
        notices: Sentences for the viewer: a source that stopped, what the governor did, a full disk. Newest last.
        captured: Frames the source has given so far: ``frames``, ``dropped`` and ``in_flight`` together.
        left_out: Frames left out so far, by reason (see :mod:`runtime.ledger`).
        in_flight: Frames that are still being worked on.
    """

    fps: float = 0.0
    latency_ms: float = 0.0
    dropped: int = 0
    frames: int = 0
    temperature: float | None = None
    throttled: tuple[str, ...] | None = None
    source: Literal["live", "reopening", "ended"] = "live"
    notices: tuple[str, ...] = ()
    captured: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0


@dataclass(slots=True)
class Moment:
    """One frame, what was found in it and what that meant.

    Attributes:
        number: Counts up from 1.
        frame: The picture; classes to be hidden are already blurred in it.
        found: What is shown: of the chosen classes, above the chosen score, ``runtime.track.Tracked`` when objects
            are followed.
        labels: Class names by class index.
        figures: How the session is doing.
        counts: One per shape, in the shapes' order.
        events: What happened in this frame.
    """

    number: int
    frame: Frame
    found: Detections
    labels: tuple[str, ...]
    figures: Figures
    counts: tuple[Count, ...] = ()
    events: tuple[Event, ...] = ()


class Output(Protocol):
    """Something that takes moments. Never blocks the session for longer than drawing one picture takes."""

    def show(self, moment: Moment) -> None:
        """Takes one moment."""

    def tell(self, figures: Figures) -> None:
        """Takes figures without a picture, about once a second while no frame arrives."""

    def close(self) -> None:
        """Finishes: after this every file is complete and in place, every connection closed."""


class Controls(Protocol):
    """What the page and MQTT may ask of the session. All methods are safe from any thread and return at once."""

    def state(self) -> dict[str, Any]:
        """Settings as plain data for JSON.

        Keys: ``model`` and ``models``, ``source`` and ``sources`` (names to choose from, given at the start: nothing
        from outside becomes a path), ``labels``, ``score``, ``classes`` (shown; ``None`` for all), ``shapes`` (each
        ``name``, ``kind``, ``points``, ``classes``), ``recording``, ``can_record``, ``blur``, ``version`` (grows with
        every change).
        """

    def change(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Changes settings, all of them or none.

        Args:
            wanted: Any of ``score``, ``classes``, ``shapes``, ``recording``, ``model``, ``source``, and
                ``reset_counts`` (true).

        Returns:
            The new state.

        Raises:
            InputError: An unknown key or a value that does not fit, in one line for the viewer.
        """

    def snapshot(self) -> str:
        """Stores the newest moment with its boxes as JPEG.

        Returns:
            Its name among the media.

        Raises:
            InputError: There is nothing to store yet, or no folder to store it in.
        """
