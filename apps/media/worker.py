"""A thread that draws and writes, so that the session never waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from runtime.errors import EdgewrenError

# Each may hold a picture.
_QUEUED = 8
_QUEUED_URGENT = 24
_CLOSE_TIMEOUT_S = 20.0
_RETRY_S = 5.0


class Worker:
    """Does one thing after another in its own thread; what comes too fast is left out and counted.

    Args:
        name: Of the thread.

    Attributes:
        dropped: Tasks left out because too many were waiting.
    """

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, task: Callable[[], None], urgent: bool = False) -> None:
        """Does this if there is time for it.

        Args:
            task: What to do.
            urgent: Whether it may also wait longer.

        Raises:
            BaseException: An earlier task failed in a way it did not expect.
        """
        if self._failure:
            raise self._failure
        if self.waiting >= (_QUEUED_URGENT if urgent else _QUEUED):
            self.dropped += 1
        else:
            self._tasks.put(task)

    @property
    def waiting(self) -> int:
        """Tasks that were taken and not begun yet."""
        return self._tasks.qsize()

    def order(self, task: Callable[[], None]) -> None:
        """Does this after all that was taken before, in any case."""
        self._tasks.put(task)

    def close(self) -> None:
        """Waits until everything is done.

        Raises:
            BaseException: A task failed in a way it did not expect.
        """
        self._tasks.put(None)
        self._thread.join(_CLOSE_TIMEOUT_S)
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except BaseException as error:
                self._failure = error


Notify = Callable[[str, str], None]


class Trouble:
    """What hinders writing now, told once when it begins and once when it ends.

    Args:
        what: What is written, such as ``recording``.
        notify: Takes what it is about and a sentence for the viewer; an empty one when the trouble is over.

    Attributes:
        notice: The trouble in a sentence; empty while there is none.
    """

    def __init__(self, what: str, notify: Notify | None = None) -> None:
        self._what = what
        self._notify = notify or (lambda what, sentence: None)
        self._again = 0.0
        self.notice = ""

    @property
    def waiting(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self._again

    def began(self, error: OSError | EdgewrenError) -> None:
        """Writing failed; it will be tried again in a few seconds."""
        self._again = time.monotonic() + _RETRY_S
        reason = error.seen if isinstance(error, EdgewrenError) else (error.strerror or str(error)).lower()
        notice = f"{self._what} interrupted: {reason}; tried again every {_RETRY_S:.0f} s"
        if notice != self.notice:
            self.notice = notice
            self._notify(self._what, notice)

    def ended(self) -> None:
        """Writing works."""
        self._again = 0.0
        if self.notice:
            self.notice = ""
            self._notify(self._what, "")


class Writer:
    """Base of what writes pictures in a thread of its own.

    Args:
        what: What is written, for the viewer.
        name: Of the thread.
        notify: Takes what it is about and a sentence for the viewer, empty when that is over; from any thread.
    """

    def __init__(self, what: str, name: str, notify: Notify | None) -> None:
        self._trouble = Trouble(what, notify)
        self._worker = Worker(name)

    @property
    def notice(self) -> str:
        """What hinders it now, in a sentence; empty while nothing does."""
        return self._trouble.notice

    @property
    def dropped(self) -> int:
        """Frames left out because writing fell behind."""
        return self._worker.dropped

    @property
    def waiting(self) -> int:
        """Frames that were taken and are not written yet."""
        return self._worker.waiting
