"""A board's user-land on this machine's kernel: every program of it is an ARM program that qemu-user runs."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from tests.arm.boards.binfmt import arm_programs
from tests.arm.boards.board import Board, public
from tests.arm.boards.cores import CORES
from tests.arm.boards.rootfs import rootfs

_ENTER = Path(__file__).with_name("enter.sh")
_PI = 1000


class UserLand(Board):
    """A user-land with a real sshd; no init system, no kernel of its own.

    Any number may run from one cached root folder: what a board writes goes to a layer in its own folder. It has its
    own mounts and processes, but this machine's network: what it serves on a port is there on loopback.

    Args:
        folder: Where its layer and keys are.
        suite: ``bookworm`` or ``trixie``.
        core: A name of ``CORES``.
        over: Folders whose files lie over those of the release, the topmost first; never written to.

    Attributes:
        layers: The folders below its own, as overlayfs wants them.
        upper: Its own.
    """

    def __init__(
        self, folder: Path, suite: str = "trixie", core: str = "cortex-a72", over: tuple[Path, ...] = ()
    ) -> None:
        super().__init__(folder)
        self.suite, self.core = suite, CORES[core]
        self.layers = ":".join(map(str, [*over, rootfs(suite)]))
        self.upper = folder / "upper"
        for name in ("upper", "work", "root"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "cpuinfo").write_text(self.core.cpuinfo())
        self._give_keys()

    def command(self) -> list[str]:
        namespaces = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        return [*namespaces, "sh", str(_ENTER), self.layers, str(self.folder), self.core.name]

    def needs(self) -> AbstractContextManager[None]:
        return arm_programs()

    def path(self, inside: str) -> Path:
        """Where a file that the board wrote lies on this machine."""
        return self.upper / inside.lstrip("/")

    def _give_keys(self) -> None:
        for home, owner in (("root", 0), ("home/pi", _PI)):
            ssh = self.upper / home / ".ssh"
            ssh.mkdir(parents=True, exist_ok=True)
            (ssh / "authorized_keys").write_text(public(self.key))
            for path in (ssh.parent, ssh, ssh / "authorized_keys"):
                shutil.chown(path, owner, owner)
        etc = self.upper / "etc" / "ssh"
        etc.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.host_key, etc / "host-key")
        (etc / "sshd_board").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey /etc/ssh/host-key\nPidFile none\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"StrictModes no\nSubsystem sftp internal-sftp\nSetEnv QEMU_CPU={self.core.name}\n"
        )
