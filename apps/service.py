"""The app as a system service: it says when it is ready and alive, and waits for its turn.

systemd's protocol is one datagram to the socket in ``NOTIFY_SOCKET`` (sd_notify(3)); nothing happens where there is
none. A camera and a port have one owner: at an update the next release starts beside the running one, loads its model
and then waits here until the other has ended, so that the picture stands still for moments only. Whoever has the turn
writes the number of its process into the file. After an update the release before waits here too, for the case that
it is wanted back: only the release that a link names may have the turn, also when that one dies and starts again.
It need not load for that: on a signal the one that runs gives its turn up and waits like the others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import IO

_ALIVE_EVERY_S = 1.0
_LOOK_EVERY_S = 0.02
# A release that may have to wait for minutes looks less often.
_LOOK_AT_LINK_EVERY_S = 0.1
# sysexits.h: EX_TEMPFAIL. systemd does not start it again then.
NOT_WANTED = 75


class Service:
    """What a service manager is told.

    Args:
        environment: ``NOTIFY_SOCKET`` (systemd's). ``EDGEWREN_TURN``: a file whose lock is held by whoever has the
            camera. ``EDGEWREN_CURRENT`` and ``EDGEWREN_RELEASE``: a link, and where it must lead before this process
            may have it. ``EDGEWREN_PATIENCE``: seconds after which it ends when the link still leads elsewhere.
            ``EDGEWREN_STEP_BACK``: name of the signal on which its turn is to be given up, ``SIGUSR1``.

    Attributes:
        step_back: That signal; ``None`` where there are no turns.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._turn = environment.get("EDGEWREN_TURN", "")
        self._link = environment.get("EDGEWREN_CURRENT", "")
        self._release = environment.get("EDGEWREN_RELEASE", "")
        self._patience = float(environment.get("EDGEWREN_PATIENCE") or "inf")
        named = environment.get("EDGEWREN_STEP_BACK", "")
        self.step_back = signal.Signals.__members__.get(named) if self._turn else None
        self._told = 0.0
        # Kept open, and with it the lock.
        self._held: IO[str] | None = None

    def ready(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """What takes long is loaded: tells systemd, then waits until no other process has the turn.

        Args:
            meanwhile: Done before that; the other one needs a moment to end.

        Returns:
            Whether there are turns, and this process has its own now.

        Raises:
            SystemExit: It waited for as long as it was to, and is not wanted.
        """
        self._tell("READY=1")
        meanwhile()
        if not self._turn:
            return False
        # Whoever waits leaves in it what the owner has written.
        self._held = open(os.open(self._turn, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii")  # noqa: SIM115
        begin = time.monotonic()
        while not (wanted := self._is_wanted()) or not self._take(self._held):
            if not wanted and time.monotonic() - begin >= self._patience:
                raise SystemExit(NOT_WANTED)
            self.alive()
            time.sleep(_LOOK_EVERY_S if wanted else _LOOK_AT_LINK_EVERY_S)
        return True

    def _is_wanted(self) -> bool:
        if not self._link:
            return True
        try:
            return os.path.samefile(self._link, self._release)
        except OSError:
            return False

    @staticmethod
    def _take(turn: IO[str]) -> bool:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        turn.truncate()
        turn.write(f"{os.getpid()}\n")
        turn.flush()
        return True

    def close(self) -> None:
        """The next one may have its turn."""
        if self._held:
            self._held.close()
            self._held = None

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
