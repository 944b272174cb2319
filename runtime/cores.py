"""How many processor cores there are for this process."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores this process may use, at least 1: a container, ``taskset`` or systemd may leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
