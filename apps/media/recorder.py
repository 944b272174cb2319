"""The recording of the live picture, in segments."""

from __future__ import annotations

import threading

from apps.media.film import Film
from apps.media.store import MediaStore
from apps.media.worker import Notify, Worker, Writer
from apps.moment import Figures, Moment
from runtime.draw import annotate, bgr
from runtime.errors import InputError

SEGMENT_S = 60.0
_DEFAULT_FPS = 15.0
# A segment ends where the picture pauses: nobody wants to watch it stand still.
_LONGEST_PAUSE_S = 5.0
# Of the quota: so that the oldest segments can go one by one.
_SEGMENT_SHARE = 8


class Recorder(Writer):
    """Records moments while it is switched on; an :class:`apps.moment.Output`.

    Drawing, encoding and the disk are a thread's business. When that falls behind, frames are left out of the video and
    counted. A full disk interrupts the recording until there is room again.

    Args:
        store: Where segments go.
        drawn: Whether boxes are drawn on the picture.
        segment_s: Seconds per segment: what is lost at most when everything fails.
        most_fps: Frames per second to record at most.
        notify: Takes what it is about and a sentence for the viewer, empty when that is over; from any thread.
    """

    def __init__(
        self,
        store: MediaStore,
        *,
        drawn: bool = True,
        segment_s: float = SEGMENT_S,
        most_fps: float = 30.0,
        notify: Notify | None = None,
    ) -> None:
        super().__init__("recording", "edgewren-recorder", notify)
        self._store = store
        self._drawn = drawn
        self._segment_s = segment_s
        # A tenth of slack: a camera's frames do not come on the tick.
        self._least_gap = 0.9 / most_fps
        self._taken = float("-inf")
        self._on = threading.Event()
        self._switch = threading.Lock()
        # The same for the thread that writes: a frame may be taken while somebody switches it off.
        self._begun = False
        self._film: Film | None = None
        # Completing a file waits for the disk; the next segment does not.
        self._finisher = Worker("edgewren-recorder-end")

    @property
    def recording(self) -> bool:
        """Whether it is switched on."""
        return self._on.is_set()

    def start(self) -> None:
        """Switches it on; returns at once."""
        with self._switch:
            self._worker.order(self._begin)
            self._on.set()

    def stop(self) -> None:
        """Switches it off; the segment is completed meanwhile."""
        with self._switch:
            self._on.clear()
            self._worker.order(self._end)

    def show(self, moment: Moment) -> None:
        """Takes one moment, if it is switched on."""
        happened = moment.frame.happened
        if not self._on.is_set() or 0 <= happened - self._taken < self._least_gap:
            return
        self._taken = happened
        self._worker.offer(lambda: self._write(moment))

    def tell(self, figures: Figures) -> None:
        """A recording holds pictures only."""

    def close(self) -> None:
        """Completes the segment."""
        self.stop()
        try:
            self._worker.close()
        finally:
            self._finisher.close()

    def _begin(self) -> None:
        self._begun = True

    def _end(self) -> None:
        self._begun = False
        self._finish()
        # Nothing is tried again.
        self._trouble.ended()

    def _write(self, moment: Moment) -> None:
        if not self._begun or self._trouble.waiting:
            return
        frame = moment.frame
        picture = annotate(frame, moment.found, moment.labels) if self._drawn else bgr(frame)
        try:
            if self._film and self._is_over(self._film, moment):
                self._finish()
            film = self._film or Film(self._store, "recording", frame, moment.figures.fps or _DEFAULT_FPS)
            self._film = film
            film.add(picture, frame.happened)
        except (OSError, InputError) as error:
            self._trouble.began(error)
            film_left, self._film = self._film, None
            if film_left:
                film_left.abandon()
        else:
            self._trouble.ended()

    def _is_over(self, film: Film, moment: Moment) -> bool:
        happened = moment.frame.happened
        return (
            not film.fits(moment.frame)
            or happened - film.last > _LONGEST_PAUSE_S
            or happened - film.start >= self._segment_s
            or film.bytes > self._store.quota // _SEGMENT_SHARE
        )

    def _finish(self) -> None:
        if self._film:
            film, self._film = self._film, None
            self._finisher.order(lambda: self._complete(film))

    def _complete(self, film: Film) -> None:
        try:
            film.finish()
        except OSError as error:
            self._trouble.began(error)
