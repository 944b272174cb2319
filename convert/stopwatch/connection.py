"""Commands on a board over ssh: files go there, a command runs on them, nothing stays.

Each command is a session that cleans up after itself: a shell on the board makes a folder, unpacks an archive from its
input into it, runs the command there, and removes the folder however it ends. Its input stays open as long as the
command is wanted; when it closes (the connection is lost, the program here is interrupted) the command is stopped.
All sessions share one connection, so that a firewall that counts connections is not alarmed.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from convert.stopwatch.address import Address
from convert.stopwatch.faults import connection_fault, folder_fault, lost
from runtime.errors import InputError

# Printed by the session when it begins. What a login script prints comes before it.
_BEGIN = "--edgewren-session--"
_SSH_FAILED, _NO_FOLDER, _NO_FILES, _STOPPED, _ABSENT = 255, 91, 92, 93, 94
# One line without single quotes: it passes through the user's login shell, whichever that is.
# $1 is the length of the archive: tar alone would read on until the input closes. $2... are the command. A signal
# other than 9 is lost when it comes between fork and exec.
_SESSION = " ".join(
    (
        "export LC_ALL=C; umask 077; folder=; running=; watching=;",
        'clean() { kill -9 $running $watching 2>/dev/null; cd /; rm -rf "$folder"; };',
        f'trap clean EXIT; trap "exit {_STOPPED}" HUP INT TERM PIPE;',
        f"echo {_BEGIN};",
        f'folder=$(mktemp -d "${{TMPDIR:-/tmp}}/edgewren-XXXXXX") || exit {_NO_FOLDER};',
        f'cd "$folder" && head -c "$1" | tar -xmf - || exit {_NO_FILES};',
        'program=$2; shift 2; case $program in "~/"*) program=$HOME/${program#??};; esac;',
        f'command -v "$program" >/dev/null || exit {_ABSENT};',
        "exec 3<&0;",
        'PYTHONPATH=$folder PYTHONDONTWRITEBYTECODE=1 "$program" "$@" </dev/null 3<&- & running=$!;',
        "{ cat <&3; kill -9 $running; } >/dev/null 2>&1 & watching=$!;",
        "wait $running",
    )
)
# Options of ssh for programs that work on a board.
OPTIONS = {
    # Whoever measures may not be there to answer a question.
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    # A board that lost its power or its network is noticed within half a minute.
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "3",
    # Errors are told apart by their text, which a user's configuration may have silenced.
    "LogLevel": "ERROR",
    # What a user's configuration may want for people at a terminal.
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
}
# A socket's path may have 104 bytes on some systems, and ssh adds 17 while it makes it. Some characters mean something
# in ssh's configuration.
_SOCKET_PATH = re.compile(r"[A-Za-z0-9_./-]{1,80}")


@dataclass(frozen=True)
class Outcome:
    """How a command on the board ended.

    Attributes:
        status: Its exit status, 128 + n for signal n; ``None`` where there is no such program.
        output, errors: What it printed; ssh and the board's tools may have added to ``errors``.
    """

    status: int | None
    output: str
    errors: str


class Connection:
    """A board that commands can be run on.

    Args:
        address: The board.
        config: ssh's configuration file (``ssh -F``), instead of the user's and the system's.

    Raises:
        InputError: There is no ssh on this machine.
    """

    def __init__(self, address: Address, config: Path | None = None) -> None:
        program = shutil.which("ssh")
        if not program:
            raise InputError("there is no ssh on this machine", "expected OpenSSH", "sudo apt install openssh-client")
        self._address = address
        folder = tempfile.mkdtemp(prefix="edgewren-ssh-")
        options = OPTIONS | _sharing(Path(folder) / "s")
        self._ssh = [
            program,
            *(["-F", str(config.absolute())] if config else []),
            *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
        ]
        self._answered = False
        self.close = weakref.finalize(self, _close, [*self._ssh, "-O", "exit", *address.arguments], folder)

    def run(self, files: Mapping[str, bytes], command: Sequence[str]) -> Outcome:
        """Runs a command in a folder of its own on the board, with that folder as ``PYTHONPATH``.

        Args:
            files: Contents by path below the folder.
            command: A program in ``PATH`` or by its path, which may begin with ``~/``, and its arguments.

        Raises:
            InputError: The board cannot be reached or does not let this user in.
            RunError: It could before, the connection was lost, or the board has no room.
        """
        archive = _archive(files)
        with tempfile.TemporaryFile() as errors:
            status, output = self._talk(
                archive, shlex.join(["sh", "-c", _SESSION, "sh", str(len(archive)), *command]), errors
            )
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace")
        _, began, output = output.partition(f"{_BEGIN}\n")
        if not began:
            raise connection_fault(self._address, said, status != _SSH_FAILED, self._answered)
        self._answered = True
        if status in (_SSH_FAILED, _STOPPED) or status < 0:
            raise lost(self._address, said)
        if status in (_NO_FOLDER, _NO_FILES):
            raise folder_fault(self._address, said)
        return Outcome(None if status == _ABSENT else status, output, said)

    def _talk(self, archive: bytes, session: str, errors: IO[bytes]) -> tuple[int, str]:
        """Exit status of ssh and what came back."""
        command = [*self._ssh, *self._address.arguments, session]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as ssh:
            assert ssh.stdin
            assert ssh.stdout
            try:
                # ssh or the session may end before it has read everything; its status says why.
                with contextlib.suppress(BrokenPipeError):
                    ssh.stdin.write(archive)
                    ssh.stdin.flush()
                output = ssh.stdout.read().decode("utf-8", "replace")
                return ssh.wait(), output
            finally:
                # After an interrupt: the session's input closes with it.
                ssh.kill()
                with contextlib.suppress(BrokenPipeError):
                    ssh.stdin.close()


def _sharing(socket: Path) -> dict[str, str]:
    """Options that let all sessions share one connection, which ends a minute after the last."""
    if not _SOCKET_PATH.fullmatch(str(socket)):
        return {"ControlMaster": "no", "ControlPath": "none"}
    return {"ControlMaster": "auto", "ControlPath": str(socket), "ControlPersist": "60"}


def _close(command: Sequence[str], folder: str) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
    shutil.rmtree(folder, ignore_errors=True)


def _archive(files: Mapping[str, bytes]) -> bytes:
    """A tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()
