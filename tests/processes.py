"""Processes of this machine, as ``/proc`` has them."""

from __future__ import annotations

import contextlib
from pathlib import Path


def read_process(pid: int, name: str) -> bytes:
    """A file in ``/proc`` about a process, empty where it has ended."""
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def descendants(parent: int) -> list[int]:
    """Children of a process, each before its own children."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{parent}/task").glob("*"):
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found
