"""The release before waits behind the one that runs: loaded, for some minutes, in case it is wanted back.

What a rollback takes longest for is loading, and whoever wants one has a bad release running. The one that waits has
no camera and no port (``apps.service``), yields the processor, and ends by itself. At a switch it gives both up and
goes on as the one that waits; where it cannot, it is started anew. A board that is short of memory does without it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from deploy.board import services
from deploy.board.layout import CURRENT, PREVIOUS, STEPS_BACK, description, linked_release, whose_turn

# What the board needs for other things it keeps; a release takes 60 to 150 MiB.
_KEPT_MIB, _RELEASE_MIB = 250, 150
_MEMORY = Path("/proc/meminfo")
_START_S = 5.0
_STEP_BACK_S = 3.0


def begin() -> bool:
    """Has the release before wait, as a process that yields to all others; whether it does."""
    before = linked_release(PREVIOUS)
    if not _may_wait(before):
        return False
    if before not in services.running():
        if _free_mib() < _KEPT_MIB + _RELEASE_MIB:
            return False
        services.systemctl("start", "--no-block", services.unit(before), check=False)
        end = time.monotonic() + _START_S
        while not services.processes(before) and time.monotonic() < end:
            time.sleep(0.05)
    services.give_way(before)
    return True


def step_back(release: str, behind: str) -> bool:
    """Has a release that runs give camera and port to another, which waits for them, and wait in its place.

    Returns:
        Whether it did. One that cannot, does not in time, or has no room is to be stopped.
    """
    turn = whose_turn()
    knows = STEPS_BACK in description(release).get("unit", "")
    if not knows or _free_mib() < _KEPT_MIB or turn not in services.processes(release):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(turn), signal.SIGUSR1)
    end = time.monotonic() + _STEP_BACK_S
    while whose_turn() == turn and time.monotonic() < end:
        if not services.processes(behind):
            # It died: what comes now is the way back, to the release that steps back.
            return True
        time.sleep(0.02)
    return whose_turn() != turn


def dismiss() -> None:
    """Ends what waits: another release is about to need its memory."""
    waiting = [services.unit(release) for release in sorted(services.running() - {linked_release(CURRENT)})]
    if services.stands():
        waiting.append(services.BEHIND)
    if waiting:
        services.systemctl("stop", *waiting, check=False)


def recall() -> None:
    """Has it wait again, and its agent, after a release that was not well: who saw that may want to go back further."""
    services.systemctl("start", "--no-block", services.BEHIND, check=False)


def _may_wait(release: str) -> bool:
    """Whether it is a release for the case that the current one is bad, and knows how to wait."""
    if not release or release == linked_release(CURRENT):
        return False
    return "EDGEWREN_CURRENT=" in description(release).get("unit", "")


def _free_mib() -> int:
    """Memory that is free or can be freed."""
    for line in _MEMORY.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) >> 10
    return 0
