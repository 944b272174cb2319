"""From what was found in a frame to what is shown of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.frame import Frame
from runtime.sources import Source
from runtime.track import Tracked, Tracker, TrackOptions, TrackState

_FARTHER = 1.25  # than it last moved: as fast as a track may be expected to move on
_SLOW = 4  # frame intervals a lost track is kept for at least
_DEFAULTS = TrackOptions()

Point = tuple[float, float]


class Follower:
    """Tracks, with a clock that suits the source.

    Attributes:
        tracker: Follows; ids go on over all sources.
        tracks: Whether objects are followed in this source: single pictures have no order.
    """

    def __init__(self, wanted: bool) -> None:
        self.tracker = Tracker()
        self.tracks = wanted
        self._wanted = wanted
        self._rate: float | None = None
        self._index = -1
        self._sightings: dict[int, tuple[float, Point]] = {}
        self._motions: dict[int, _Motion] = {}

    def start(self, source: Source) -> None:
        """Another source: forgets all tracks."""
        self.tracker.reset()
        self._sightings, self._motions = {}, {}
        self.tracks = self._wanted and (source.live or source.fps is not None)
        # A file is read faster or slower than it plays; its frames' numbers tell their times.
        self._rate = None if source.live else source.fps
        self._index = -1

    def floor(self, score: float) -> float:
        """Lowest score that is worth detecting: doubtful objects go on with their tracks."""
        return min(score, _DEFAULTS.low_score)

    def seconds(self, frame: Frame) -> float:
        """The frame's time, for tracking."""
        return frame.captured if self._rate is None else frame.index / self._rate

    def update(self, frame: Frame, found: Detections, score: float, fps: float) -> tuple[Tracked, bool]:
        """Goes on with the tracks.

        Args:
            frame: The picture.
            found: All that was detected in it, from :meth:`floor` on.
            score: Lowest score shown.
            fps: Results per second at present.

        Returns:
            All tracks, and whether they began anew: a video from its beginning.
        """
        again = frame.index <= self._index and self._rate is not None
        self._index = frame.index
        if again:
            self.tracker.reset()
        low = self.floor(score)
        high = max(low, min(_DEFAULTS.high_score, score))
        keep = max(_DEFAULTS.keep_lost, _SLOW / fps if fps else 0.0)
        options = self.tracker.options
        if (low, high) != (options.low_score, options.high_score) or abs(keep - options.keep_lost) > 0.2 * keep:
            self.tracker.options = dataclasses.replace(options, low_score=low, high_score=high, keep_lost=keep)
        seconds = self.seconds(frame)
        tracks = self.tracker.update(found, seconds)
        self._note(found, tracks, seconds)
        return tracks, again

    def expected(self, frame: Frame) -> Tracked:
        """Where the tracks should be in a frame that was not looked at; safe while another thread updates.

        In each direction a track moves on no faster than its object was last seen to move, by a quarter more, for the
        filter takes some frames to believe that an object has stopped; and no farther than its box is large, so that
        one that turns unseen is not lost sight of.
        """
        seconds, motions = self.seconds(frame), self._motions
        tracks = self.tracker.predict(seconds)
        for box, track_id in zip(tracks.boxes, tracks.track_ids.tolist(), strict=True):
            if motion := motions.get(track_id):
                box += motion.excess(box, seconds)
        return tracks

    def _note(self, found: Detections, tracks: Tracked, seconds: float) -> None:
        """Remembers where and how fast objects were really seen to move."""
        sightings: dict[int, tuple[float, Point]] = {}
        motions: dict[int, _Motion] = {}
        rows = zip(tracks.track_ids.tolist(), tracks.indices.tolist(), tracks.boxes.tolist(), strict=True)
        for track_id, index, box in rows:
            last = self._sightings.get(track_id)
            if index < 0:
                if last:
                    sightings[track_id] = last
                if track_id in self._motions:
                    motions[track_id] = self._motions[track_id]
                continue
            middle = _middle(found.boxes[index].tolist())
            sightings[track_id] = seconds, middle
            if last and seconds > last[0]:
                gap = seconds - last[0]
                speed = (middle[0] - last[1][0]) / gap, (middle[1] - last[1][1]) / gap
                motions[track_id] = _Motion(seconds, _middle(box), speed)
        self._sightings, self._motions = sightings, motions


class _Motion(NamedTuple):
    """Where a track was at a time, and the pixels a second its object was seen to move."""

    seconds: float
    middle: Point
    speed: Point

    def excess(self, box: npt.NDArray[np.float32], seconds: float) -> npt.NDArray[np.float32]:
        """What to add to a predicted box, so that it goes no farther than it may; ``(4,)``."""
        gap = max(0.0, seconds - self.seconds)
        allowed = []
        left, top, right, bottom = box.tolist()
        middle, size = _middle((left, top, right, bottom)), (right - left, bottom - top)
        for now, before, speed, side in zip(middle, self.middle, self.speed, size, strict=True):
            end = max(-side, min(side, _FARTHER * speed * gap))
            shift = now - before
            allowed.append(min(max(shift, min(0.0, end)), max(0.0, end)) - shift)
        return np.array(allowed * 2, np.float32)


def _middle(box: Sequence[float]) -> Point:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_chosen(found: Detections, score: float, hidden: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of the objects are shown, ``(n,)``.

    Args:
        found: Objects, or tracks; of those the confirmed.
        score: Lowest score shown.
        hidden: By class index.
    """
    chosen = (found.scores >= score) & ~hidden[found.class_ids]
    if isinstance(found, Tracked):
        chosen &= found.states == TrackState.CONFIRMED
    return np.asarray(chosen)


def as_seen(tracks: Tracked, found: Detections) -> Tracked:
    """The tracks with the very boxes that were detected, where they were.

    What counts is steadier when filtered, but a filtered box lies some frames behind an object that turns, and whoever
    looks at the picture sees that.

    Args:
        tracks: Of an update.
        found: What that update was given.
    """
    boxes, seen = tracks.boxes.copy(), tracks.indices >= 0
    boxes[seen] = found.boxes[tracks.indices[seen]]
    return dataclasses.replace(tracks, boxes=boxes)


def take(found: Detections, chosen: npt.NDArray[np.bool_], frame: Frame) -> Detections:
    """Some of the objects, tracks cut at the picture's edges."""
    if isinstance(found, Tracked):
        return found.take(chosen).clipped(frame.width, frame.height)
    if chosen.all():
        return found
    return Detections(found.boxes[chosen], found.scores[chosen], found.class_ids[chosen], found.ms)
