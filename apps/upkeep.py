"""What happens once a second beside the session, and the state file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from apps.notices import Notices
from apps.state import Keeper, State, load_state
from runtime.errors import EdgewrenError

_EVERY_S = 1.0


class Upkeep:
    """Keeps the state file, in a thread of its own that also does other small work.

    Args:
        path: The state file; ``None`` for none.
        notices: Sentences for the viewer.
        work: What else is to be done once a second.
        stop: Ends the session; called when any of this fails in a way it does not expect.

    Attributes:
        restored: The state that was found.

    Raises:
        InputError: The state file cannot be kept.
    """

    def __init__(self, path: Path | None, notices: Notices, work: Callable[[], None], stop: Callable[[], None]) -> None:
        self.restored = State()
        self._notices = notices
        self._work = work
        self._stop = stop
        self._error: BaseException | None = None
        self._keeper = Keeper(path) if path else None
        self._path = path
        self.restore()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgewren-upkeep", daemon=True)

    @property
    def keeps(self) -> bool:
        """Whether there is a state file."""
        return self._keeper is not None

    def restore(self) -> None:
        """Reads the state file.

        Raises:
            InputError: It cannot be kept.
        """
        if self._path:
            self.restored, trouble = load_state(self._path)
            self._notices.set("state", trouble)

    def start(self) -> None:
        """Begins; numbers of events are set aside before the first one is given out."""
        self.save(at_once=True)
        self._thread.start()

    def offer(self, state: State) -> None:
        """Takes a new state, to be written when it is time."""
        if self._keeper:
            self._keeper.offer(state)

    def close(self) -> None:
        """Ends the thread; a state may be offered once more.

        Raises:
            BaseException: The thread failed: a defect, without which the session would not have ended.
        """
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._error:
            error, self._error = self._error, None
            raise error

    def save(self, *, at_once: bool = False, final: bool = False) -> None:
        """Writes the state, if it is time, or at once, or for the last time."""
        if self._keeper is None:
            return
        try:
            self._keeper.write(at_once=at_once, final=final)
        except EdgewrenError as error:
            self._notices.set("state file", str(error))
        else:
            self._notices.set("state file", "")

    def _run(self) -> None:
        try:
            while not self._over.wait(_EVERY_S):
                self._work()
                self.save()
        except BaseException as error:
            self._error = error
            self._stop()
