"""The app as a system service: it says when it is ready and alive, and waits for its turn.

systemd's protocol is one datagram to the socket in ``NOTIFY_SOCKET`` (sd_notify(3)); nothing happens where there is
none. A camera and a port have one owner: at an update the next release starts beside the running one, loads its model
and then waits here until the other has ended, so that the picture stands still for moments only. Whoever has the turn
writes the number of its process into the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import IO

_ALIVE_EVERY_S = 1.0
_LOOK_EVERY_S = 0.02


class Service:
    """What a service manager is told.

    Args:
        environment: ``NOTIFY_SOCKET`` (systemd's), and ``EDGEWREN_TURN``: a file whose lock is held by whoever has
            the camera.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._turn = environment.get("EDGEWREN_TURN", "")
        self._told = 0.0
        # Kept open, and with it the lock, until the process ends.
        self._held: IO[str] | None = None

    def ready(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """What takes long is loaded: tells systemd, then waits until no other process has the turn.

        Args:
            meanwhile: Done before that; the other one needs a moment to end.
        """
        self._tell("READY=1")
        meanwhile()
        if not self._turn:
            return
        self._held = open(self._turn, "w", encoding="ascii")  # noqa: SIM115
        while True:
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._held.write(f"{os.getpid()}\n")
                self._held.flush()
                return
            except BlockingIOError:
                self.alive()
                time.sleep(_LOOK_EVERY_S)

    def alive(self) -> None:
        """The loop goes round: for the watchdog, at most once a second."""
        now = time.monotonic()
        if self._address and now - self._told >= _ALIVE_EVERY_S:
            self._told = now
            self._tell("WATCHDOG=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # '@' stands for the zero byte of an abstract socket. Whether systemd listens must not matter to the picture.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.sendall(state.encode())
