"""A camera that may go away and come back, without the program ending or falling behind.

A thread of its own opens the camera, takes every frame at once and keeps the newest, so that nothing queues in a
decoder or a socket however slow the reader is. When the camera stops it is opened again and again, with growing pauses.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from runtime.errors import EdgewrenError, RunError
from runtime.frame import Frame
from runtime.sources import Asking, Source
from runtime.sources.query import BadNameError

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_JITTER = 0.2
# A camera that stops again sooner than this has not come back: the pauses go on growing.
_SETTLED_S = 5.0
# How long closing waits for a thread that is held up in a camera's driver or a socket.
_CLOSE_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class SourceState:
    """How a camera is doing.

    Attributes:
        state: ``live``; ``reopening`` (stopped, tried again); ``ended`` (closed, or failed for good).
        attempts: How often opening was tried since it stopped.
        reason: Why it stopped, or why opening failed the last time; empty while live.
        since: ``time.monotonic()`` seconds when this state began.
        returns: How often it has come back.
    """

    state: Literal["live", "reopening", "ended"]
    attempts: int = 0
    reason: str = ""
    since: float = 0.0
    returns: int = 0


def pauses(low: float = _FIRST_PAUSE_S, high: float = _LONGEST_PAUSE_S) -> Callable[[int], float]:
    """The pause in seconds after the n-th attempt, n from 1, doubling from ``low`` to ``high``.

    Each is up to 20 % longer or shorter, so that many boards do not knock at one camera together.
    """

    def pause(attempt: int) -> float:
        return min(high, low * 2.0 ** min(attempt - 1, 30)) * random.uniform(1 - _JITTER, 1 + _JITTER)

    return pause


class ReopeningSource:
    """The newest frame of a live source that is opened again when it stops.

    Args:
        name: What errors and frames call it.
        open_again: Opens it; runs in the source's own thread.
        first: The source, where it is open already; ``None`` starts with an attempt.
        pause: Seconds to wait after the n-th attempt, n from 1.
        settled: Seconds a source must live before its return counts.

    Attributes:
        fps: Frames per second, as far as known.
        about: What was negotiated, in words.
        dropped: Frames that were replaced by newer ones before they were read.
        wanted: See :class:`runtime.sources.Asking`; called in the source's own thread.
    """

    live = True

    def __init__(
        self,
        name: str,
        open_again: Callable[[], Source],
        first: Source | None = None,
        *,
        pause: Callable[[int], float] | None = None,
        settled: float = _SETTLED_S,
    ) -> None:
        self._name = name
        self._open_again = open_again
        self._pause = pause or pauses()
        self._settled = settled
        self._arrived = threading.Condition()
        self._newest: Frame | None = None
        self._interrupts = 0
        self._closing = threading.Event()
        self._error: BaseException | None = None
        self._next = 0
        self._attempts = 0
        self.wanted: Callable[[float], bool] | None = None
        self.dropped = 0
        self.fps: float | None = None
        self.about = ""
        self._state = SourceState("live" if first else "reopening", since=time.monotonic())
        if first:
            self._take_over(first)
        self._thread = threading.Thread(target=self._run, args=(first,), name="edgewren-source", daemon=True)
        self._thread.start()

    @property
    def state(self) -> SourceState:
        """How it is doing now; safe from any thread."""
        return self._state

    @property
    def notice(self) -> str:
        """What is the matter, in a sentence for the viewer; empty while it is live."""
        state = self._state
        if state.state != "reopening":
            return ""
        return f"{state.reason or f'waiting for {self._name}'}; tried again (attempt {state.attempts})"

    def read(self) -> Frame | None:
        """Waits for a frame that was not read yet; ``None`` once closed, and when interrupted.

        Raises:
            BaseException: Opening or reading failed in a way no second attempt mends: a defect, not a lost camera.
        """
        with self._arrived:
            interrupts = self._interrupts
            self._arrived.wait_for(
                lambda: self._newest is not None or self._closing.is_set() or self._interrupts != interrupts
            )
            frame, self._newest = self._newest, None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def interrupt(self) -> None:
        """Makes a :meth:`read` that waits now return ``None``; later ones wait again. From any thread."""
        with self._arrived:
            self._interrupts += 1
            self._arrived.notify_all()

    def rewind(self) -> bool:
        """A live source has no beginning to go back to."""
        return False

    def close(self) -> None:
        """Ends it, also while it waits in a driver or a socket: what is held up there is freed when it comes back."""
        self._end()
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self, source: Source | None) -> None:
        try:
            while not self._closing.is_set():
                source = source or self._reopen()
                if source is None:
                    break
                began = time.monotonic()
                reason = self._drain(source)
                source.close()
                source = None
                if time.monotonic() - began >= self._settled:
                    self._attempts = 0
                self._become("reopening", reason)
        except BaseException as error:
            self._error = error
        finally:
            self._become("ended", "")
            self._end()
            if source is not None:
                source.close()

    def _drain(self, source: Source) -> str:
        """Passes frames on until there are no more; says why."""
        first, asks = self._next, isinstance(source, Asking)
        try:
            while not self._closing.is_set() and (frame := source.read()) is not None:
                # Counted on over gaps: for whoever reads it is one source.
                frame.index += first
                self._next = frame.index + 1
                if not (asks or self._is_wanted(frame.captured)):
                    continue
                with self._arrived:
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._arrived.notify_all()
        except (EdgewrenError, OSError) as error:
            return _cause(error)
        return f"{self._name} stopped"

    def _end(self) -> None:
        with self._arrived:
            self._closing.set()
            self._arrived.notify_all()

    def _reopen(self) -> Source | None:
        """Tries until it opens; ``None`` when closed meanwhile."""
        while not self._closing.wait(self._pause(self._attempts) if self._attempts else 0.0):
            self._attempts += 1
            self._become("reopening", self._state.reason)
            try:
                source = self._open_again()
            except BadNameError:
                raise
            except (EdgewrenError, OSError) as error:
                self._become("reopening", _cause(error))
                continue
            self._take_over(source)
            self._become("live", "", came_back=True)
            return source
        return None

    def _take_over(self, source: Source) -> None:
        self.fps = source.fps
        self.about = describe(source)
        if isinstance(source, Asking):
            source.wanted = self._is_wanted

    def _is_wanted(self, captured: float) -> bool:
        wanted = self.wanted  # May change meanwhile.
        return wanted is None or self._closing.is_set() or wanted(captured)

    def _become(self, state: Literal["live", "reopening", "ended"], reason: str, came_back: bool = False) -> None:
        old = self._state
        since = old.since if old.state == state else time.monotonic()
        attempts = self._attempts if state == "reopening" else 0
        self._state = SourceState(state, attempts, reason, since, old.returns + came_back)


def describe(source: Source) -> str:
    """What a source gives, in words, such as ``1280x720 MJPG, 30 frames/s``; empty where it does not say."""
    return str(getattr(source, "about", ""))


def _cause(error: Exception) -> str:
    """What happened and what helps against it; that the program ends with it is what does not hold here."""
    if isinstance(error, RunError):
        return error.seen
    return str(error)
