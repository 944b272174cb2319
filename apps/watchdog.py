"""Tells systemd that the app is ready and alive (``sd_notify``, see ``man 3 sd_notify``); elsewhere does nothing."""

from __future__ import annotations

import contextlib
import os
import socket


def ready() -> None:
    """The app runs: frames may come."""
    _notify("READY=1")


def beat() -> None:
    """The app is alive; to be called more than twice per ``WatchdogSec`` of the unit."""
    _notify("WATCHDOG=1")


def stopping() -> None:
    """The app is about to end of its own will."""
    _notify("STOPPING=1")


def _notify(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # Who does not listen is not told: the service manager's absence must not end the app.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as told:
        told.sendto(message.encode(), address)
