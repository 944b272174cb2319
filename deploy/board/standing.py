"""While the release before waits, loaded, so does the agent: loading takes a small board longer than going back.

Whoever wants to go back sends it SIGUSR1 and reads its answer from the pipe ``ANSWER`` (``deploy.board.apart``).
systemd writes an empty one when this agent has ended, however it did.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal

from deploy.board import services
from deploy.board.behind import begin
from deploy.board.layout import ANSWER, ASKED, PATIENCE_S, PREVIOUS, SWITCH, linked_release, read_json
from deploy.board.operating import rollback
from deploy.board.steps import BoardError, attempt
from deploy.board.switch import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def behind() -> dict[str, Any]:
    """A while after a switch: the release before waits, loaded, in case it is wanted back, and this agent with it."""
    # It may be asked from here on, and answers when the release is loaded.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    for path in (ANSWER, ASKED):
        path.unlink(missing_ok=True)
    os.mkfifo(ANSWER, 0o600)
    with locked():
        unfinished = bool(read_json(SWITCH))
    # Not under the lock: whoever wants to go back at this moment must not be told that somebody is at work.
    if unfinished or not begin():
        return {"changed": False}
    before = linked_release(PREVIOUS)
    with contextlib.suppress(BoardError):
        # If it cannot start, whoever wants it back is told why.
        services.start(before)
    loaded = services.processes(before)
    if signal.sigtimedwait({signal.SIGUSR1}, PATIENCE_S):
        services.hurry()
        _answer(_go_back(before, loaded))
    return {"changed": True}


def _go_back(before: str, loaded: set[str]) -> dict[str, Any]:
    os.environ["EDGEWREN_APART"] = "1"
    if services.processes(before) != loaded:
        # It died while it waited and was started again, which must not count against it now.
        services.systemctl("reset-failed", services.unit(before), check=False)
    return attempt(rollback, loaded)


def _answer(result: dict[str, Any]) -> None:
    # Whoever asked may be gone. What was done is done.
    with contextlib.suppress(OSError), open(os.open(ANSWER, os.O_WRONLY | os.O_NONBLOCK), "w") as pipe:
        pipe.write(json.dumps(result) + "\n")
