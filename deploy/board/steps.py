"""The steps of a deployment, each with a name, and drills for whoever wants to see that the old release runs on.

``EDGEWREN_DRILL=<step>`` kills the program there. ``EDGEWREN_DRILL=hold:<step>`` waits there for SIGCONT: time to pull
the network's cable, or the power's (docs/deploy.md).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STEPS = (
    "begin",
    "packages",
    "code",
    "model",
    "release",
    "smoke",
    "units",
    "switch-noted",
    "switch-started",
    "switch-linked",
    "switch-stopped",
    "switch-proven",
    "switch-done",
    "pruned",
)
# Whoever wanted the release must still be there; after these, the switch goes on whoever listens.
WATCHED = STEPS[: STEPS.index("units") + 1]


BUSY = "another deployment is under way on this board; wait for it"


class BoardError(Exception):
    """What went wrong, in one line for the person at the other end."""


def attempt(command: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """What a command of the agent gives; ``{"changed", "failed"}`` with the reason when it failed."""
    try:
        return command(*arguments)
    except BoardError as failure:
        return {"changed": False, "failed": str(failure)}
    except OSError as error:
        return {"changed": False, "failed": f"{error.filename or 'the board'}: {error.strerror or error}"}


def step(name: str) -> None:
    """Marks that everything before ``name`` is done.

    Raises:
        BoardError: Nobody listens any more, and nothing was switched yet.
    """
    assert name in STEPS, name
    drill = os.environ.get("EDGEWREN_DRILL", "")
    if drill == f"hold:{name}":
        _hold()
    try:
        print(f"step {name}", file=sys.stderr, flush=True)
    except OSError:
        if name in WATCHED:
            raise BoardError(f"the connection was lost before {name}, nothing was switched; deploy again") from None
    if drill == name:
        os.kill(os.getpid(), 9)


def _hold() -> None:
    import signal

    # Not stopped: sudo would stop along with it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
    # Never called; by it /proc tells who waits here.
    signal.signal(signal.SIGCONT, lambda *ignored: None)
    signal.sigwait({signal.SIGCONT})
