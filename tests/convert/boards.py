"""This machine as a board: an sshd of its own on loopback, without any of the user's keys, settings or folders."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.ports import free_port, listens
from tests.waiting import until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
# What a session on the board uses, and python3 only where a test puts one.
_TOOLS = ("sh", "cat", "head", "mktemp", "rm", "tar")
_USER = pwd.getpwuid(os.getuid()).pw_name


class Board:
    """An sshd and the folders of what it serves.

    Args:
        folder: An empty one.

    Attributes:
        address: ``user@127.0.0.1:port``.
        config: The client's configuration.
        settings: The server's, once it has started.
        temporary, home, tools: Folders of the board: ``TMPDIR``, ``HOME`` and ``PATH``.
    """

    def __init__(self, folder: Path) -> None:
        if not SSHD or not shutil.which("ssh"):
            pytest.skip("no sshd on this machine (apt install openssh-server openssh-client)")
        self._folder = folder
        self.temporary, self.home, self.tools = folder / "tmp", folder / "home", folder / "tools"
        for each in (self.temporary, self.home, self.tools):
            each.mkdir()
        for tool in _TOOLS:
            (self.tools / tool).symlink_to(shutil.which(tool) or tool)
        self.key, self.host_key = self.make_key("user"), self.make_key("host")
        self.port = free_port()
        self.address = f"{_USER}@127.0.0.1:{self.port}"
        self.settings, self._log = folder / "sshd_config", folder / "sshd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.config = self.client_config("config", self.host_key, self.key)

    def make_key(self, name: str) -> Path:
        """A throw-away key pair; the private file."""
        path = self._folder / f"{name}-key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path

    def client_config(self, name: str, host_key: Path | None, key: Path) -> Path:
        """A client's configuration that takes the board for one with this key, and shows this key of its own."""
        known = self._folder / f"{name}-known"
        known.write_text(f"[127.0.0.1]:{self.port} {host_key.with_suffix('.pub').read_text()}" if host_key else "")
        path = self._folder / name
        path.write_text(
            f"IdentityFile {key}\nIdentitiesOnly yes\nIdentityAgent none\nStrictHostKeyChecking ask\n"
            f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n"
        )
        return path

    def start(self, **environment: object) -> Board:
        """Starts the sshd; ``environment`` is set in its sessions."""
        settings = {"TMPDIR": self.temporary, "HOME": self.home, "PATH": self.tools, **environment}
        self.settings.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {self.key}.pub\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in settings.items())}\n"
        )
        return self.restart()

    def restart(self) -> Board:
        """Starts it anew with the same settings."""
        self.stop()
        if os.getuid() == 0:
            # An sshd of root insists on this folder, which else the service's start makes.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._process = subprocess.Popen([str(SSHD), "-D", "-f", self.settings, "-E", self._log])
        until(lambda: listens(self.port), "sshd does not listen")
        return self

    def stop(self) -> None:
        """Ends the sshd with all its connections."""
        if self._process:
            self.cut()
            self._process.terminate()
            self._process.wait()
            self._process = None

    def cut(self) -> None:
        """Ends the board's side of all connections, as when its power fails."""
        assert self._process
        for pid in servers(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def connections(self) -> int:
        """Logins so far."""
        return self._log.read_text().count("Accepted publickey")

    def leftovers(self) -> list[str]:
        """Files on the board, and programs that run there."""
        running = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.temporary) in os.readlink(process / "cwd"):
                    running.append((process / "cmdline").read_text())
        return [*map(str, self.temporary.iterdir()), *running]

    def check_clean(self) -> None:
        """Nothing of ours stays on the board; what was stopped just now may take a moment."""
        with contextlib.suppress(AssertionError):
            until(lambda: not self.leftovers(), "")
        assert self.leftovers() == []

    def script(self, path: Path, text: str) -> Path:
        """A program of the board."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path


def servers(parent: int) -> list[int]:
    """The sshd processes that serve connections, one or two for each; not the shells they start."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # A name in parentheses, which may hold anything, the state, the parent.
            name, _, rest = (process / "stat").read_text().rpartition(")")
            if "(sshd" in name and int(rest.split()[1]) == parent:
                found += [int(process.name), *servers(int(process.name))]
    return found


def command_lines() -> list[str]:
    """Of all processes."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "cmdline").read_text(errors="replace"))
    return found
