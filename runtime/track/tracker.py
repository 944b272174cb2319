"""ByteTrack: every detection counts, the doubtful ones after the sure ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from runtime.detections import StageMs
from runtime.errors import InputError
from runtime.nms import iou_matrix
from runtime.track.assign import assign
from runtime.track.options import TrackOptions
from runtime.track.table import Sightings, Table, to_corners, to_middles
from runtime.track.tracked import Tracked, TrackState

if TYPE_CHECKING:
    import numpy.typing as npt

    from runtime.detections import Detections
    from runtime.track.kalman import Floats

    Bools = npt.NDArray[np.bool_]
    Indices = npt.NDArray[np.intp]

_DISTRUST = 0.7  # how much less an overlap counts for a track that was not seen for as long as lost ones are kept
_LARGEST = 1e6  # pixels; what is farther away is a mistake, and its area would not fit into float32


class Tracker:
    """Follows objects from detection to detection, and says where they are in between.

    The association is ByteTrack's (Zhang et al., arXiv:2110.06864): tracks are predicted to the time of the frame; the
    detections with high scores are assigned to confirmed and lost tracks by overlap, exactly; those with low scores to
    confirmed tracks that are still without one, for an object that is half covered scores low; high ones that remain
    go on with tentative tracks, or start new ones. A tentative track ends with the first update that has nothing for
    it, a confirmed one when it was not seen for ``keep_lost`` seconds.

    Motion is measured per second of capture time, so frames may be dropped and the network may be slower than the
    camera: :meth:`predict` gives the boxes of a frame that was not looked at.

    Predictions may be asked for by one thread while another updates.

    Args:
        options: Settings; defaults where not given.

    Example:
        >>> import numpy as np
        >>> from runtime import Detections
        >>> tracker = Tracker()
        >>> for second in (0.0, 0.1, 0.2, 0.3):
        ...     boxes = np.float32([[100 * second, 0, 100 * second + 40, 40]])
        ...     tracks = tracker.update(Detections(boxes, np.float32([0.9]), np.int32([3])), second)
        >>> tracks.track_ids.tolist(), tracks.confirmed().class_ids.tolist()
        ([1], [3])
        >>> tracker.predict(0.4).boxes.round().tolist()
        [[40.0, 0.0, 80.0, 40.0]]
    """

    def __init__(self, options: TrackOptions | None = None) -> None:
        self.options = options or TrackOptions()
        self._next_id = 1
        self._table = Table.empty()

    def __len__(self) -> int:
        """Number of tracks that are remembered, of all states."""
        return len(self._table)

    def reset(self) -> None:
        """Forgets all tracks and the time, for another video. Ids go on: no two objects ever share one."""
        self._table = Table.empty()

    def update(self, found: Detections, captured: float) -> Tracked:
        """Takes in the detections of one frame.

        Args:
            found: What was detected; boxes in pixels with ``x1 <= x2`` and ``y1 <= y2``, in any order.
            captured: When the frame was captured, in seconds (``Frame.captured``); not before the update before. The
                same time once more is fine, for a second detector on the same frame.

        Returns:
            All tracks at that time, best score first.

        Raises:
            InputError: A time that is not finite or goes back, or boxes or scores that are no numbers. The tracks are
                then as they were.
        """
        self._check(found, captured)
        last = self._table
        tracks = last.kept(captured - last.seen <= self.options.keep_lost).at(captured)
        pairs = _Pairs(len(tracks), len(found))
        if len(tracks) and len(found):
            self._associate(tracks, last.time, found, pairs)
        seen = Sightings(to_middles(found.boxes), found.scores, found.class_ids)
        which = (pairs.chosen >= 0).nonzero()[0]
        kept = (pairs.chosen >= 0) | (tracks.hits >= self.options.confirm)
        fresh = self._fresh(found, pairs.taken)
        table = tracks.followed_by(which, seen.take(pairs.chosen[which])).kept(kept)
        self._table = table.joined_by(seen.take(fresh), self._next_id)
        self._next_id += len(fresh)
        return self._result(self._table, captured, np.concatenate([pairs.chosen[kept], fresh]), found.ms)

    def predict(self, captured: float) -> Tracked:
        """Where the tracks are in a frame that nothing was detected in. Changes nothing.

        Args:
            captured: When that frame was captured, in seconds; usually after the last update. Before it, motion is
                run backwards.

        Returns:
            The tracks as the last update left them, with boxes and ages of that time, best score first. Without those
            that began later, or would by then not have been seen for more than ``keep_lost`` seconds.

        Raises:
            InputError: The time is not finite.
        """
        if not math.isfinite(captured):
            raise InputError(f"the capture time is {captured}", "expected seconds", "pass Frame.captured")
        table = self._table
        shown = table.kept((captured - table.seen <= self.options.keep_lost) & (captured >= table.born))
        return self._result(shown, captured, np.full(len(shown), -1, np.intp), StageMs())

    def _check(self, found: Detections, captured: float) -> None:
        if not math.isfinite(captured):
            raise InputError(f"the capture time is {captured}", "expected seconds", "pass Frame.captured")
        if captured < self._table.time:
            raise InputError(
                f"the capture time is {captured:g} s, after an update at {self._table.time:g} s",
                "expected times that do not go back",
                "leave late frames out, or call reset() before another video",
            )
        boxes = found.boxes
        # Written so that NaN fails.
        if not ((np.abs(boxes) <= _LARGEST).all() and (boxes[:, :2] <= boxes[:, 2:]).all()):
            raise InputError(
                "a box is no rectangle of finite numbers",
                "expected x1 <= x2 and y1 <= y2 in pixels",
                "check the detector",
            )
        if not ((found.scores >= 0) & (found.scores <= 1)).all():
            raise InputError("a score is not in 0..1", "expected the detector's probabilities", "check the detector")

    def _associate(self, tracks: Table, last: float, found: Detections, pairs: _Pairs) -> None:
        """Assigns detections to tracks, which were last updated at some time, in ByteTrack's three steps."""
        options = self.options
        overlap = iou_matrix(to_corners(tracks.middles), found.boxes)
        fits = overlap > options.match_iou
        if options.per_class:
            fits &= tracks.class_ids[:, None] == found.class_ids
        rows, columns = fits.nonzero()
        # What was not seen for longer is less likely to be where it is expected.
        trust = 1 - _DISTRUST / options.keep_lost * (last - tracks.seen)
        weights = (overlap[rows, columns] - options.match_iou) * trust[rows]
        high = (found.scores >= options.high_score)[columns]
        confirmed = (tracks.hits >= options.confirm)[rows]
        pairs.add(rows, columns, weights, confirmed & high)
        low = ~high & (found.scores >= options.low_score)[columns]
        # Only where the track was just seen: elsewhere a doubtful detection is more likely a false one.
        pairs.add(rows, columns, weights, confirmed & low & (tracks.seen == last)[rows])
        pairs.add(rows, columns, weights, ~confirmed & high)

    def _fresh(self, found: Detections, taken: Bools) -> Indices:
        """Detections that start a track, in an order that does not depend on theirs."""
        fresh = ((found.scores >= self.options.high_score) & ~taken).nonzero()[0]
        if len(fresh) < 2:
            return fresh
        keys = (*found.boxes[fresh].T, found.class_ids[fresh], -found.scores[fresh])
        return fresh[np.lexsort(keys)]

    def _result(self, table: Table, time: float, indices: Indices, ms: StageMs) -> Tracked:
        """What is known at a time; ``indices`` are the detections of that time, -1 for tracks without one."""
        order = np.argsort(-table.scores, kind="stable")
        columns = table.columns[:, order]
        shown = Table(columns, time)
        middles = shown.middles + (time - table.time) * shown.velocities if time != table.time else shown.middles
        states = np.where(shown.seen == table.time, TrackState.CONFIRMED, TrackState.LOST)
        states[shown.hits < self.options.confirm] = TrackState.TENTATIVE
        return Tracked(
            boxes=to_corners(middles),
            scores=shown.scores.astype(np.float32),
            class_ids=shown.class_ids.astype(np.int32),
            ms=ms,
            track_ids=shown.ids.astype(np.int64),
            states=states.astype(np.uint8),
            ages=(time - shown.born).astype(np.float32),
            unseen=np.maximum(time - shown.seen, 0).astype(np.float32),
            indices=indices[order].astype(np.int32),
        )


class _Pairs:
    """Which detection each track has.

    Attributes:
        chosen: ``(tracks,)`` position of the track's detection; -1 for none.
        taken: ``(detections,)`` whether one has a track.
    """

    def __init__(self, tracks: int, detections: int) -> None:
        self.chosen = np.full(tracks, -1, np.intp)
        self.taken = np.zeros(detections, np.bool_)

    def add(self, rows: Indices, columns: Indices, weights: Floats, among: Bools) -> None:
        """Assigns once more, among some of the pairs ``(k,)`` that are possible; what has its pair keeps it."""
        if not among.any():
            return
        among = among & (self.chosen[rows] < 0) & ~self.taken[columns]
        rows, columns = assign(rows[among], columns[among], weights[among])
        self.chosen[rows] = columns
        self.taken[columns] = True
