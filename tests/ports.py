"""TCP ports of this machine."""

from __future__ import annotations

import contextlib
import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections to this loopback port."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 2):
        return True
    return False
