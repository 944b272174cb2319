"""The agent's commands for a board that has a release: back, state, away."""

from __future__ import annotations

import os

from deploy.board import services
from deploy.board.layout import (
    AHEAD,
    ANSWER,
    ASKED,
    CURRENT,
    LAST,
    LOCK,
    PREVIOUS,
    ROOT,
    STATE,
    SWITCH,
    UNITS,
    USER,
    description,
    linked_release,
    read_json,
    releases,
)
from deploy.board.steps import BoardError
from deploy.board.switch import locked, recover, switch
from deploy.board.switching import switch_apart, taken_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any


def rollback(loaded: Collection[str] = ()) -> dict[str, Any]:
    """Switches to the release that ran before, which is still there.

    It proved itself before it ran, and is not tested again.

    Args:
        loaded: Numbers of the processes of a release that is loaded and waits for its turn.
    """
    services.hurry()
    if not os.environ.get("EDGEWREN_APART"):
        return {"changed": True, **switch_apart(["rollback"])}
    with locked():
        recover()
        now, before = linked_release(CURRENT), linked_release(PREVIOUS)
        others = [name for name in releases() if name != now]
        target = before if before and before != now else (others or [""])[-1]
        if not target:
            raise BoardError("there is no other release on this board; deploy one")
        try:
            done = switch(target, proven=True, loaded=loaded)
        except BoardError:
            raise BoardError(taken_back(read_json(LAST))) from None
    return {"changed": True, **done}


def status() -> dict[str, Any]:
    """What runs, since when, and what else is there."""
    from deploy.board.health import ask

    now = linked_release(CURRENT)
    state = ["", "", "", ""]
    if now:
        state = services.show(now, "ActiveState", "ActiveEnterTimestamp", "NRestarts", "MemoryCurrent")
    manifest = description(now)
    port = manifest.get("port", 0)
    return {
        "changed": False,
        "release": now,
        "active": state[0] == "active",
        "since": state[1],
        "restarts": state[2],
        "memory_mb": _megabytes(state[3]),
        "model": manifest.get("model_name", ""),
        "model_sha256": manifest.get("model", ""),
        "page": (ask(port) or "well") if port else "none",
        "port": port,
        "previous": linked_release(PREVIOUS),
        "waiting": sorted(services.running() - {now}),
        "releases": releases(),
        "last": read_json(LAST),
        "unfinished": bool(read_json(SWITCH)),
    }


def undeploy() -> dict[str, Any]:
    """Removes everything a deployment has put on the board."""
    import shutil
    import subprocess

    with locked(wait=True):
        there = any(path.exists() for path in (ROOT, STATE, UNITS / services.MAIN))
        services.remove_units()
        for folder in (ROOT, STATE):
            shutil.rmtree(folder, ignore_errors=True)
        for command in (["userdel", USER], ["groupdel", USER]):
            subprocess.run(command, capture_output=True, check=False)
    for path in (LOCK, AHEAD, ANSWER, ASKED):
        path.unlink(missing_ok=True)
    return {"changed": there}


def _megabytes(text: str) -> float | None:
    return round(int(text) / 2**20, 1) if text.isdecimal() and int(text) < 1 << 60 else None
