"""Short videos of events, from some seconds before."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from apps.media.film import Film, taken_at
from apps.media.ring import JpegRing
from apps.media.snapshots import encode, save_picture
from apps.media.store import MediaStore
from apps.media.worker import Notify, Writer
from apps.moment import Figures, Moment
from runtime.draw import annotate
from runtime.errors import InputError

_QUALITY = 85
_THUMBNAIL_WIDTH = 320
_RING_BYTES = 32 << 20


class ClipOutput(Writer):
    """Stores a clip and a thumbnail of every burst of events; an :class:`apps.moment.Output`.

    A clip begins some seconds before an event, out of a ring of JPEGs in memory, and ends some seconds after the last
    event of its burst. Its name has the numbers of the first and the last event.

    Args:
        store: Where clips go.
        before_s: Seconds before the first event.
        after_s: Seconds after the last one.
        longest_s: Seconds after which a clip ends although events go on; the next event begins another.
        most_fps: Frames per second at most; each costs drawing and one JPEG even while nothing happens.
        ring_bytes: Memory for the seconds before.
        notify: Takes what it is about and a sentence for the viewer, empty when that is over; from any thread.
    """

    def __init__(
        self,
        store: MediaStore,
        *,
        before_s: float = 5.0,
        after_s: float = 5.0,
        longest_s: float = 60.0,
        most_fps: float = 10.0,
        ring_bytes: int = _RING_BYTES,
        notify: Notify | None = None,
    ) -> None:
        super().__init__("event clips", "edgewren-clips", notify)
        self._store = store
        self._before_s = before_s
        self._after_s = after_s
        self._longest_s = longest_s
        self._fps = most_fps
        self._taken = float("-inf")
        self._ring = JpegRing(before_s, ring_bytes)
        self._film: Film | None = None
        self._until = 0.0
        self._last_event = 0

    def show(self, moment: Moment) -> None:
        """Takes one moment; those with events come first."""
        happened = moment.frame.happened
        if moment.events:
            self._worker.offer(lambda: self._take(moment), urgent=True)
        elif not 0 <= happened - self._taken < 0.9 / self._fps:
            self._worker.offer(lambda: self._take(moment))
        else:
            return
        self._taken = happened

    def tell(self, figures: Figures) -> None:
        """Clips hold pictures only."""

    def close(self) -> None:
        """Completes the clip."""
        self._worker.order(self._finish)
        self._worker.close()

    def _take(self, moment: Moment) -> None:
        frame = moment.frame
        picture = annotate(frame, moment.found, moment.labels)
        try:
            if self._film and (not self._film.fits(frame) or frame.happened > self._until):
                self._finish()
            if moment.events and not self._trouble.waiting:
                self._happen(moment, picture)
            if self._film:
                self._film.add(picture, frame.happened)
                self._trouble.ended()
        except (OSError, InputError) as error:
            self._trouble.began(error)
            film, self._film = self._film, None
            if film:
                film.abandon(self._last_event)
        # Also while a clip grows: the next one may begin right after it.
        self._ring.add(frame.happened, encode(picture, _QUALITY))

    def _happen(self, moment: Moment, picture: npt.NDArray[np.uint8]) -> None:
        """Begins a clip, or makes the one that grows last longer."""
        frame = moment.frame
        if not self._film:
            first = moment.events[0].number
            self._film = self._begin(moment, first)
            height = max(1, round(_THUMBNAIL_WIDTH * frame.height / frame.width))
            small = cv2.resize(picture, (_THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
            save_picture(self._store, np.asarray(small, np.uint8), taken_at(frame), first)
        self._last_event = moment.events[-1].number
        self._until = min(frame.happened + self._after_s, self._film.start + self._longest_s)

    def _begin(self, moment: Moment, event: int) -> Film:
        """A film with what the ring holds."""
        frame = moment.frame
        # Another source's clock may have been anywhere.
        oldest = frame.happened - self._before_s
        earlier = [(happened, jpeg) for happened, jpeg in self._ring if oldest <= happened < frame.happened]
        self._ring.clear()
        film = Film(self._store, "clip", frame, self._fps, earlier[0][0] if earlier else None, event)
        try:
            for happened, jpeg in earlier:
                film.add(np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8), happened)
        except OSError:
            film.abandon(event)
            raise
        return film

    def _finish(self) -> None:
        film, self._film = self._film, None
        if film:
            try:
                film.finish(self._last_event)
            except OSError as error:
                self._trouble.began(error)
