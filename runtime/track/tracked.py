"""What a tracker returns: detections that know whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from runtime.detections import Detections

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.frame import Frame


class TrackState(IntEnum):
    """How sure a track is."""

    TENTATIVE = 0
    """Seen too few times: it may be a false detection."""
    CONFIRMED = 1
    """Seen often enough, and in the last update."""
    LOST = 2
    """Confirmed, but the last update had no detection for it: its box is where it should be by now."""


@dataclass(slots=True, kw_only=True)
class Tracked(Detections):
    """The tracks of one moment: equal-length arrays, best score first. Whatever takes ``Detections`` takes this.

    Attributes:
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2`` in pixels, as the Kalman filter sees them; they may reach out of
            the picture (:meth:`clipped`).
        scores: ``(n,)`` float32, 0..1, of each track's latest detection.
        class_ids: ``(n,)`` int32, of each track's latest detection.
        ms: Time per stage, as the detections had it.
        track_ids: ``(n,)`` int64, from 1; never used again for another track.
        states: ``(n,)`` uint8, a :class:`TrackState` each.
        ages: ``(n,)`` float32, seconds from the first detection to the moment of these boxes.
        unseen: ``(n,)`` float32, seconds from the latest detection to that moment.
        indices: ``(n,)`` int32, position in the detections this update was given; -1 for tracks without one.
    """

    track_ids: npt.NDArray[np.int64]
    states: npt.NDArray[np.uint8]
    ages: npt.NDArray[np.float32]
    unseen: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int32]

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Tracked:
        """Some of the tracks.

        Args:
            which: ``(n,)`` bool, or positions ``(m,)``.
        """
        return Tracked(
            boxes=self.boxes[which],
            scores=self.scores[which],
            class_ids=self.class_ids[which],
            ms=self.ms,
            track_ids=self.track_ids[which],
            states=self.states[which],
            ages=self.ages[which],
            unseen=self.unseen[which],
            indices=self.indices[which],
        )

    def confirmed(self) -> Tracked:
        """Without the tentative and the lost: what is worth showing."""
        return self.take((self.states == TrackState.CONFIRMED).nonzero()[0])

    def clipped(self, width: int, height: int) -> Tracked:
        """The part inside a picture; tracks that are all outside are left out.

        Args:
            width: Of the picture, pixels.
            height: Of the picture, pixels.
        """
        boxes = np.clip(self.boxes, 0, np.array([width, height, width, height], np.float32))
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        kept = self.take(inside)
        kept.boxes = boxes[inside]
        return kept

    def to_dict(self, frame: Frame, labels: tuple[str, ...]) -> dict[str, Any]:
        """The JSON object of one image, each object with ``track_id``, ``state`` and ``age`` besides."""
        # Named in full: a class with slots is made twice, and plain super() looks for the first.
        document = Detections.to_dict(self, frame, labels)
        more = zip(self.track_ids.tolist(), self.states.tolist(), self.ages.tolist(), strict=True)
        for found, (track_id, state, age) in zip(document["detections"], more, strict=True):
            found |= {"track_id": track_id, "state": TrackState(state).name.lower(), "age": round(age, 3)}
        return document
