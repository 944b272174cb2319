"""The memory of a tracker: one column of numbers per track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.track import kalman
from runtime.track.kalman import Floats

# Rows of the table: the estimate's 5 x 4 numbers, then what is known besides. Whole numbers are exact up to 2 ** 53.
_UNIT, _ID, _CLASS, _SCORE, _HITS, _BORN, _SEEN = range(20, 27)
_ROWS = 27


@dataclass(frozen=True, slots=True)
class Sightings:
    """Detections the way tracks need them.

    Attributes:
        middles: ``(4, n)`` float64, ``cx, cy, w, h`` in pixels.
        scores: ``(n,)`` 0..1.
        class_ids: ``(n,)`` integers.
    """

    middles: Floats
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int32]

    def take(self, which: npt.NDArray[np.intp]) -> Sightings:
        """Those at positions ``(m,)``."""
        return Sightings(self.middles[:, which], self.scores[which], self.class_ids[which])


@dataclass(frozen=True, slots=True)
class Table:
    """The tracks after an update, oldest first. Never changed: an update makes another one.

    So one thread may ask for predictions while another updates, and an update that fails has changed nothing.

    Attributes:
        columns: ``(27, n)`` float64.
        time: Capture time of the update, seconds.
    """

    columns: Floats
    time: float

    @classmethod
    def empty(cls) -> Table:
        """No tracks; any capture time may follow."""
        return cls(np.zeros((_ROWS, 0)), -np.inf)

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def middles(self) -> Floats:
        """``(4, n)`` estimated boxes, ``cx, cy, w, h`` in pixels."""
        return self._rows(slice(0, 4))

    @property
    def velocities(self) -> Floats:
        """``(4, n)`` of the same, pixels per second."""
        return self._rows(slice(4, 8))

    @property
    def ids(self) -> Floats:
        """``(n,)`` from 1."""
        return self._rows(_ID)

    @property
    def class_ids(self) -> Floats:
        """``(n,)`` of the latest detection."""
        return self._rows(_CLASS)

    @property
    def scores(self) -> Floats:
        """``(n,)`` of the latest detection."""
        return self._rows(_SCORE)

    @property
    def hits(self) -> Floats:
        """``(n,)`` number of detections so far."""
        return self._rows(_HITS)

    @property
    def born(self) -> Floats:
        """``(n,)`` capture time of the first detection, seconds."""
        return self._rows(_BORN)

    @property
    def seen(self) -> Floats:
        """``(n,)`` capture time of the latest detection, seconds."""
        return self._rows(_SEEN)

    def _rows(self, which: int | slice) -> Floats:
        rows: Floats = self.columns[which]
        return rows

    def at(self, time: float) -> Table:
        """The same tracks at a later time, seconds."""
        columns = self.columns.copy()
        if len(self):
            estimate = columns[:_UNIT].reshape(5, 4, -1)
            columns[:_UNIT] = kalman.predict(estimate, columns[_UNIT], time - self.time).reshape(_UNIT, -1)
        return Table(columns, time)

    def kept(self, which: npt.NDArray[np.bool_]) -> Table:
        """Without the tracks for which ``(n,)`` is false."""
        return self if which.all() else Table(self.columns[:, which], self.time)

    def followed_by(self, which: npt.NDArray[np.intp], seen: Sightings) -> Table:
        """The tracks once some were seen.

        Args:
            which: ``(k,)`` positions of the tracks that were seen.
            seen: Their ``k`` detections.
        """
        columns = self.columns.copy()
        some = columns[:, which]
        unit = kalman.unit_of(seen.middles)
        noise = kalman.noise_of(unit, seen.scores)
        corrected = kalman.correct(some[:_UNIT].reshape(5, 4, -1), seen.middles, noise)
        some[:_UNIT] = corrected.reshape(_UNIT, -1)
        some[_UNIT], some[_CLASS], some[_SCORE], some[_SEEN] = unit, seen.class_ids, seen.scores, self.time
        some[_HITS] += 1
        columns[:, which] = some
        return Table(columns, self.time)

    def joined_by(self, seen: Sightings, first_id: int) -> Table:
        """With a new track for each detection; ids count on from the first."""
        count = len(seen.scores)
        if not count:
            return self
        new = np.empty((_ROWS, count))
        unit = kalman.unit_of(seen.middles)
        new[:_UNIT] = kalman.begin(seen.middles, unit, kalman.noise_of(unit, seen.scores)).reshape(_UNIT, count)
        new[_UNIT], new[_ID] = unit, np.arange(first_id, first_id + count)
        new[_CLASS], new[_SCORE], new[_HITS] = seen.class_ids, seen.scores, 1
        new[_BORN], new[_SEEN] = self.time, self.time
        return Table(np.concatenate([self.columns, new], axis=1), self.time)


def to_middles(boxes: npt.NDArray[np.float32]) -> Floats:
    """Boxes ``(n, 4)`` ``x1, y1, x2, y2`` as ``(4, n)`` float64 ``cx, cy, w, h``."""
    corners = boxes.T.astype(np.float64)
    size = corners[2:] - corners[:2]
    return np.concatenate([corners[:2] + size / 2, size])


def to_corners(middles: Floats) -> npt.NDArray[np.float32]:
    """The way back, as float32."""
    half = middles[2:] / 2
    corners = np.concatenate([middles[:2] - half, middles[:2] + half])
    return np.ascontiguousarray(corners.T, np.float32)
