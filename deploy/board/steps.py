"""The steps of a deployment, each with a name, and a drill that ends the program at one of them.

``EDGEWREN_DRILL=<step>`` kills the program there, as a power cut would: whoever wants to know that the old release goes
on running can try it (docs/deploy.md).
"""

from __future__ import annotations

import contextlib
import os
import sys

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


class BoardError(Exception):
    """What went wrong, in one line for the person at the other end."""


def step(name: str) -> None:
    """Marks that everything before ``name`` is done."""
    assert name in STEPS, name
    # Whoever listened may be gone; the work goes on.
    with contextlib.suppress(OSError):
        print(f"step {name}", file=sys.stderr, flush=True)
    if os.environ.get("EDGEWREN_DRILL") == name:
        os.kill(os.getpid(), 9)
