"""Questions to a board over ssh, without leaving anything there.

All that one run of the program asks of a board, Ansible's part included, goes over one connection: on a small board
the handshake takes longer than most questions.
"""

from __future__ import annotations

import atexit
import functools
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.stopwatch.address import Address
from convert.stopwatch.connection import OPTIONS
from convert.stopwatch.faults import connection_fault
from runtime.errors import InputError, RunError

# An unknown board is taken at its word and remembered; one whose key has changed is refused.
_OPTIONS = OPTIONS | {"StrictHostKeyChecking": "accept-new"}
_SSH_FAILED = 255
_LINGER_S = 60
# Printed before anything else, so that "no such command" and "no connection" are told apart.
_BEGIN = "--edgewren--"


@dataclass(frozen=True)
class Said:
    """How a command ended: exit status and what it printed."""

    status: int
    output: str
    errors: str


def ssh_arguments(config: Path | None) -> list[str]:
    """Ssh's options, for Ansible as well; ``config`` is ``ssh -F``."""
    shared = {"ControlMaster": "auto", "ControlPersist": str(_LINGER_S), "ControlPath": f"{_sockets()}/%C"}
    options = [part for name, value in (_OPTIONS | shared).items() for part in ("-o", f"{name}={value}")]
    return [*(["-F", str(config.absolute())] if config else []), *options]


@functools.cache
def _sockets() -> Path:
    """Folder of the connections' sockets, until the program ends."""
    # A socket's path may have 108 bytes; $TMPDIR may be long.
    folder = Path(tempfile.mkdtemp(prefix="edgewren-", dir="/tmp"))
    atexit.register(_close, folder)
    return folder


def _close(folder: Path) -> None:
    for socket in folder.iterdir():
        command = ["ssh", "-F", "none", "-O", "exit", "-o", f"ControlPath={socket}", "board"]
        subprocess.run(command, capture_output=True, timeout=10, check=False)
    shutil.rmtree(folder, ignore_errors=True)


class Link:
    """A board that can be asked.

    Args:
        address: The board.
        config: ssh's configuration file instead of the user's.

    Raises:
        InputError: There is no ssh on this machine.
    """

    def __init__(self, address: Address, config: Path | None = None) -> None:
        if not shutil.which("ssh"):
            raise InputError("there is no ssh on this machine", "expected OpenSSH", "sudo apt install openssh-client")
        self.address = address
        self._command = ["ssh", *ssh_arguments(config), *address.arguments]

    def run(self, command: Sequence[str], given: bytes = b"", seconds: float = 120) -> Said:
        """Runs a command there.

        Args:
            command: Its words; they pass through the login shell unharmed.
            given: Its standard input.
            seconds: How long it may take.

        Raises:
            InputError: The board cannot be reached or does not let this user in.
            RunError: It takes too long.
        """
        line = f"echo {_BEGIN}; exec {shlex.join(command)}"
        return self._said(shlex.join(["sh", "-c", line]), given, seconds)

    def reach(self) -> None:
        """Connects, and sees that the board lets this user in. Errors as :meth:`run`."""
        # Every login shell does this by itself; on a small board each program more takes its time.
        self._said(f"echo {_BEGIN}", b"", 120)

    def _said(self, line: str, given: bytes, seconds: float) -> Said:
        try:
            done = subprocess.run(
                [*self._command, line],
                input=given,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RunError(
                f"{self.address.text} has not answered for {seconds:.0f} s", "", "look at the board"
            ) from None
        output, errors = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        _, began, output = output.partition(f"{_BEGIN}\n")
        if not began:
            raise connection_fault(self.address, errors, done.returncode != _SSH_FAILED, False)
        return Said(done.returncode, output, errors)

    def is_password(self, password: str) -> bool:
        """Whether sudo takes a password; it is asked once and keeps nothing of it. Errors as :meth:`run`."""
        return self.run(["sudo", "-k", "-S", "-p", "", "true"], f"{password}\n".encode()).status == 0

    def follow(self, command: Sequence[str]) -> int:
        """Runs a command there whose output is shown as it comes; its exit status."""
        return subprocess.run([*self._command, shlex.join(command)], check=False).returncode
