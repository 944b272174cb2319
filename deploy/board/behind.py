"""The release before waits behind the one that runs: loaded, for some minutes, in case it is wanted back.

What a rollback takes longest for is loading, and whoever wants one has a bad release running. The one that waits has
no camera and no port (``apps.service``), yields the processor, and ends by itself. A board that is short of memory
does without it.
"""

from __future__ import annotations

import time
from pathlib import Path

from deploy.board import services
from deploy.board.layout import CURRENT, PREVIOUS, description, linked_release

# A release takes 60 to 150 MiB; what the board needs for other things it keeps.
_FREE_MIB = 400
_MEMORY = Path("/proc/meminfo")
_SECONDS = 5.0


def begin() -> bool:
    """Starts the release before, as a process that yields to all others; whether it did."""
    before = linked_release(PREVIOUS)
    if before in services.running() or not _may_wait(before):
        return False
    services.systemctl("start", "--no-block", services.unit(before), check=False)
    end = time.monotonic() + _SECONDS
    while not services.processes(before) and time.monotonic() < end:
        time.sleep(0.05)
    services.give_way(before)
    return True


def dismiss() -> None:
    """Ends what waits: another release is about to need its memory."""
    waiting = [services.unit(release) for release in sorted(services.running() - {linked_release(CURRENT)})]
    if services.stands():
        waiting.append(services.BEHIND)
    if waiting:
        services.systemctl("stop", *waiting, check=False)


def _may_wait(release: str) -> bool:
    """Whether a release knows how to wait, and the board has room for it."""
    if not release or release == linked_release(CURRENT):
        return False
    return "EDGEWREN_CURRENT=" in description(release).get("unit", "") and _free_mib() >= _FREE_MIB


def _free_mib() -> int:
    """Memory that is free or can be freed."""
    for line in _MEMORY.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) >> 10
    return 0
