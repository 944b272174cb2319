"""One video that grows in the store."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import numpy.typing as npt

from apps.media.store import Kind, Media, MediaStore
from runtime.frame import Frame
from runtime.sinks.encoder import Encoder, even, fit, open_encoder, plays

_CHECK_INTERVAL_S = 1.0


class Film:
    """A recording's segment, or a clip.

    Args:
        store: Where it is kept.
        kind: What it is.
        frame: Its first frame, for its size and time.
        fps: Frames per second, as far as known.
        start: ``Frame.happened`` seconds of its beginning, where that is before ``frame``.
        event: Number of the first event a clip shows.

    Attributes:
        last: ``Frame.happened`` seconds of the newest frame.

    Raises:
        OSError: There is no room for it.
    """

    def __init__(
        self,
        store: MediaStore,
        kind: Kind,
        frame: Frame,
        fps: float,
        start: float | None = None,
        event: int | None = None,
    ) -> None:
        self._store = store
        self._shape = frame.width, frame.height
        self._size = even(frame.width, frame.height)
        self.start = self.last = frame.happened if start is None else start
        self._scratch = store.begin(kind, taken_at(frame) - (frame.happened - self.start), ".mp4", event)
        self._checked = time.monotonic()
        try:
            self._encoder: Encoder = open_encoder(self._scratch, self._size, fps)
        except BaseException:
            store.discard(self._scratch)
            raise

    def fits(self, frame: Frame) -> bool:
        """Whether a frame has the film's size and comes after its newest one."""
        return (frame.width, frame.height) == self._shape and frame.happened >= self.last

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.last - self.start

    @property
    def bytes(self) -> int:
        """How large the file is so far."""
        try:
            return self._scratch.stat().st_size
        except OSError:
            return 0

    def add(self, picture: npt.NDArray[np.uint8], happened: float) -> None:
        """Appends a picture.

        Raises:
            OSError: There is no more room.
        """
        self._encoder.add(fit(picture, self._size), happened - self.start)
        self.last = happened
        if time.monotonic() - self._checked >= _CHECK_INTERVAL_S:
            self._checked = time.monotonic()
            self._store.make_room()

    def finish(self, last_event: int | None = None) -> Media | None:
        """Completes it and lists it; what cannot be completed is listed as far as it plays.

        Raises:
            OSError: Not even that could be put in place.
        """
        failure: OSError | None = None
        try:
            self._encoder.close()
        except OSError as error:
            failure = error
        if not self._encoder.frames or (failure and not plays(self._scratch)):
            self._store.discard(self._scratch)
            if failure:
                raise failure
            return None
        return self._store.commit(self._scratch, last_event)

    def abandon(self, last_event: int | None = None) -> None:
        """Completes it as well as can be after an error that was told already."""
        with contextlib.suppress(OSError):
            self.finish(last_event)


def taken_at(frame: Frame) -> float:
    """Seconds since 1970 when a frame was captured."""
    return time.time() - (time.monotonic() - frame.captured)
