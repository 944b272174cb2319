"""From one release to another, and back.

The new release is started beside the old one: it loads its model and then waits for its turn (``apps.service``),
because a camera and a port have one owner. Only when it waits is the link moved, and the old one gives both up and
waits in its turn, or is stopped; if the new one does not answer after that, the old one has them again. A note on the
disk says that a switch is under way. Whoever finds it with nobody at work (``recover``: after a killed process, at the
next start of the board) takes the old release back.
"""

from __future__ import annotations

import contextlib
import fcntl
import time

from deploy.board import services
from deploy.board.apart import call_off
from deploy.board.behind import step_back
from deploy.board.health import wait_until_well
from deploy.board.layout import (
    CURRENT,
    LAST,
    LOCK,
    PREVIOUS,
    RELEASES,
    SWITCH,
    description,
    discard,
    link,
    linked_release,
    read_json,
    remove,
    write_json,
)
from deploy.board.steps import BUSY, BoardError, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from typing import IO, Any

# Some look only whether somebody is at work.
_MOMENT_S = 1.0


@contextlib.contextmanager
def locked(wait: bool = False) -> Iterator[None]:
    """One at a time.

    Raises:
        BoardError: Somebody else is at work.
    """
    with LOCK.open("w") as stream:
        end = time.monotonic() + _MOMENT_S
        while not _has(stream, wait):
            if time.monotonic() >= end:
                raise BoardError(BUSY)
            time.sleep(0.05)
        yield


def _has(stream: IO[str], wait: bool) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def switch(new: str, proven: bool = False, loaded: Collection[str] = ()) -> dict[str, Any]:
    """Makes a complete release the running one, or leaves things as they were.

    Args:
        new: Its id.
        proven: It has run on this board before.
        loaded: Numbers of its processes if they are known to be loaded and wait for their turn.

    Returns:
        ``{"release", "was", "gap_s"}``: seconds without service.

    Raises:
        BoardError: The new release is not well; the old one runs again.
    """
    old = linked_release(CURRENT)
    write_json(SWITCH, {"from": old, "to": new})
    call_off(new)
    step("switch-noted")
    try:
        if old != new:
            services.give_way(old)
            # It may have waited behind the other.
            services.give_way(new, False)
        if not loaded or services.processes(new) != set(loaded):
            services.start(new)
        step("switch-started")
        _point(CURRENT, new)
        step("switch-linked")
        stopped = time.monotonic()
        ending = old if old != new else ""
        # Whoever goes back wants to be rid of the one that runs.
        stays = bool(ending) and not proven and step_back(ending, new)
        if ending and not stays:
            # It takes its time to end, and the new one has its turn before that.
            services.stop(ending, wait=not services.processes(new))
        step("switch-stopped")
        answered = wait_until_well(new, description(new).get("port", 0), proven, ending)
        step("switch-proven")
    except BoardError as failure:
        recover(str(failure))
        raise
    if old != new:
        _point(PREVIOUS, old)
        if not stays:
            # What it still has to put away would take it too long beside one that works.
            services.give_way(old, False)
    done = {"release": new, "was": old, "gap_s": round(answered - stopped, 2) if old else None}
    write_json(LAST, {"ok": True, **done})
    remove(SWITCH)
    step("switch-done")
    return done


def recover(reason: str = "it was cut off") -> bool:
    """Takes the old release back when a switch was not finished; nothing to do otherwise."""
    note = read_json(SWITCH)
    if not note:
        return False
    old, new = note.get("from", ""), note.get("to", "")
    _point(CURRENT, old)
    if old:
        services.give_way(old, False)
        with contextlib.suppress(BoardError):
            services.start(old)
    if new != old:
        services.stop(new)
    _forget(old, new, reason)
    return True


def settle() -> bool:
    """The same at the start of the board, when no service runs yet: the links alone."""
    note = read_json(SWITCH)
    if not note:
        return False
    _point(CURRENT, note.get("from", ""))
    _forget(note.get("from", ""), note.get("to", ""), "the board went off during the switch")
    return True


def _forget(old: str, new: str, reason: str) -> None:
    """A release that never ran well is none to go back to."""
    if new not in (old, linked_release(PREVIOUS)):
        services.remove_unit(new)
        discard(RELEASES / new)
    write_json(LAST, {"ok": False, "release": old, "tried": new, "reason": reason})
    remove(SWITCH)


def _point(path: Path, release: str) -> None:
    if release:
        link(path, f"releases/{release}")
    else:
        remove(path)
