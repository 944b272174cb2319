"""The agent's commands around a switch: systemd runs them."""

from __future__ import annotations

import os

from deploy.board import services
from deploy.board.apart import call_off, run_apart
from deploy.board.behind import recall
from deploy.board.layout import LAST, linked_release, read_json, remove
from deploy.board.steps import BoardError
from deploy.board.switch import locked, settle
from deploy.board.switch import recover as take_back
from deploy.board.switch import switch as change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def boot() -> dict[str, Any]:
    """While the board starts: settles a switch that was cut off and starts the current release."""
    try:
        with locked():
            settled = settle()
    except BoardError:
        # A deployment is under way and will start what it wants.
        return {"changed": False}
    if settled:
        services.systemctl("daemon-reload")
    services.boot()
    return {"changed": settled}


def switch(release: str) -> dict[str, Any]:
    """The switch itself, in a unit of its own."""
    services.hurry()
    with locked(wait=True):
        try:
            done = change(release)
        except BoardError as failure:
            recall()
            return {"changed": False, "failed": str(failure)}
    services.systemctl("start", "--no-block", services.MAIN, services.BEHIND, check=False)
    return {"changed": True, **done}


def recover() -> dict[str, Any]:
    """After a switch that ended, however it did."""
    with locked(wait=True):
        changed = take_back()
        call_off()
    return {"changed": changed}


def switch_apart(command: list[str]) -> dict[str, Any]:
    """Has the agent switch in a unit of its own, whatever becomes of this process.

    Args:
        command: ``["switch", release]`` or ``["rollback"]``.

    Raises:
        BoardError: The old release runs on.
    """
    remove(LAST)
    run_apart(command, os.environ.get("EDGEWREN_DRILL", ""))
    last = read_json(LAST)
    if last.get("ok"):
        return {name: last.get(name) for name in ("release", "was", "gap_s")}
    if not last:
        raise BoardError("the switch did not begin; look at journalctl -u edgewren-switch")
    raise BoardError(taken_back(last))


def taken_back(last: dict[str, Any]) -> str:
    """What became of a switch that failed, in one line."""
    back = f"rolled back to {last['release']}" if last.get("release") else "nothing runs, there was no release before"
    return f"{back}: {last.get('reason')}"


def is_running(release: str) -> bool:
    """Whether a release is current and runs."""
    from deploy.board.layout import CURRENT

    return linked_release(CURRENT) == release and services.is_active(release)
