"""What all boards have: an address, keys, and commands over a real ssh."""

from __future__ import annotations

import contextlib
import subprocess
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ports import LOOPBACK, free_port, listens
from tests.waiting import until


class Board(ABC):
    """A board behind ssh on a loopback port. A context manager: started inside, gone with all it held afterwards.

    Args:
        folder: Where it keeps its state; made where it is absent, removed by whoever owns it.

    Attributes:
        port: Of its sshd.
        address: ``pi@127.0.0.1:port``; ``pi`` may use ``sudo`` without a password and is in the group ``video``.
        config: The configuration for ``ssh -F`` and ``rsync -e``: key, known host, no other of the user's settings.
        key: The private key that ``pi`` and ``root`` let in.
        host_key: The private key by which the board is known.
        options: More words for every ``ssh`` of :meth:`ssh`.
    """

    options: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.address = f"pi@{LOOPBACK}:{self.port}"
        self.key, self.host_key = make_key(folder / "key"), make_key(folder / "host-key")
        self.config = self.client_config(folder / "ssh_config", self.host_key)
        self._process: subprocess.Popen[bytes] | None = None
        self._held = contextlib.ExitStack()

    def client_config(self, path: Path, host_key: Path) -> Path:
        """Writes a client's configuration that takes the board for the one with this host key."""
        known = path.with_name(f"{path.name}.known")
        known.write_text(f"[{LOOPBACK}]:{self.port} {public(host_key)}")
        path.write_text(
            f"IdentityFile {self.key}\nIdentitiesOnly yes\nIdentityAgent none\nStrictHostKeyChecking yes\n"
            f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\nConnectTimeout 20\nLogLevel ERROR\n"
        )
        return path

    @abstractmethod
    def command(self) -> list[str]:
        """The program that is the board on this machine."""

    def needs(self) -> AbstractContextManager[None]:
        """What this machine must have while the board runs."""
        return contextlib.nullcontext()

    def start(self, timeout: float = 30) -> None:
        """Starts it, or starts it anew with what it had stored; returns when its sshd lets ``pi`` in.

        Raises:
            RuntimeError: It ended, or gave no answer in ``timeout`` seconds; with the end of its log.
        """
        self.stop()
        self._held.enter_context(self.needs())
        with (self.folder / "console.log").open("ab") as log:
            # The kernel kills it with this process, however that ends.
            command = ["setpriv", "--pdeathsig", "KILL", *self.command()]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(self._answers, "no answer", timeout, 0.1)
        except AssertionError:
            self.stop()
            raise RuntimeError(f"the board gave no answer:\n{self.console()[-2000:]}") from None

    def stop(self) -> None:
        """Cuts its power."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._held.close()

    def console(self) -> str:
        """What it printed."""
        return (self.folder / "console.log").read_text(errors="replace")

    def ssh(self, command: str, user: str = "pi", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a shell command on the board."""
        whole = ["ssh", "-F", str(self.config), *self.options, "-p", str(self.port), f"{user}@{LOOPBACK}", command]
        return subprocess.run(whole, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)

    def run(self, command: str, user: str = "pi", timeout: float = 120) -> str:
        """Runs a shell command that must succeed; what it printed on standard output."""
        done = self.ssh(command, user, timeout)
        assert done.returncode == 0, (
            f"{command} ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        )
        return done.stdout

    def send(self, sources: list[Path], target: str, user: str = "pi") -> None:
        """Copies files and folders into a folder of the board, by rsync."""
        shell = f"ssh -F {self.config} -p {self.port}"
        command = ["rsync", "-a", "-e", shell, *map(str, sources), f"{user}@{LOOPBACK}:{target}/"]
        subprocess.run(command, check=True, timeout=300)

    def _answers(self) -> bool:
        if self._process and self._process.poll() is not None:
            raise TimeoutError
        with contextlib.suppress(subprocess.TimeoutExpired):
            return listens(self.port) and self.ssh("true", timeout=15).returncode == 0
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def make_key(path: Path) -> Path:
    """A throw-away key pair; the private file."""
    if not path.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path], check=True)
    return path


def public(key: Path) -> str:
    """The public line of a private file."""
    return key.with_name(f"{key.name}.pub").read_text()
