"""From what was found in a frame to what is shown of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.frame import Frame
from runtime.sources import Source
from runtime.track import Tracked, Tracker, TrackOptions, TrackState

_SLOW = 4  # frame intervals a lost track is kept for at least
_DEFAULTS = TrackOptions()


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

    def start(self, source: Source) -> None:
        """Another source: forgets all tracks."""
        self.tracker.reset()
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
        return self.tracker.update(found, self.seconds(frame)), again


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


def take(found: Detections, chosen: npt.NDArray[np.bool_], frame: Frame) -> Detections:
    """Some of the objects, tracks cut at the picture's edges."""
    if isinstance(found, Tracked):
        return found.take(chosen).clipped(frame.width, frame.height)
    if chosen.all():
        return found
    return Detections(found.boxes[chosen], found.scores[chosen], found.class_ids[chosen], found.ms)
