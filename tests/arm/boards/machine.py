"""A whole emulated board: firmware-less ARM machine, Debian's kernel, systemd, and a V4L2 camera at /dev/video0."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from tests.arm.boards.board import Board, public
from tests.arm.boards.cores import CORES
from tests.arm.boards.disk import image, pack
from tests.ports import free_port

# In a machine's folder: where QEMU takes orders, and the memory with which it goes on instead of booting.
CONTROL, MEMORY = "control", "memory"
EMULATOR = "qemu-system-aarch64"
_MEMORY_MB = 2048
# Guards against other programs of a machine that runs none cost an emulator more than the rest of a system call.
_KERNEL = "ipv6.disable=1 mitigations=off init_on_alloc=0 audit=0 apparmor=0 quiet"


class Machine(Board):
    """A machine under qemu-system; it has no way to any network but for the two ports that lead into it.

    Its disk stays in its folder: :meth:`stop` is a power cut, :meth:`start` boots again with what was written. With a
    memory in its folder (``tests.arm.boards.asleep``) it goes on where that was written, once.

    Args:
        folder: Where its disk and keys are.
        suite: ``bookworm`` or ``trixie``.
        core: A name of ``CORES``.
        page_port: Port inside that :attr:`page` leads to.
        disk: A disk to begin with, instead of an untouched one; it is copied.

    Attributes:
        page: Loopback port of this machine that is the board's ``page_port``.
    """

    def __init__(
        self,
        folder: Path,
        suite: str = "trixie",
        core: str = "cortex-a72",
        page_port: int = 8080,
        disk: Path | None = None,
    ) -> None:
        super().__init__(folder)
        self.core, self.page = CORES[core], free_port()
        # Letting somebody in takes an emulator a second; whoever is in asks on. It ends with the machine.
        shared = {"ControlMaster": "auto", "ControlPersist": "yes", "ControlPath": str(folder / "ssh-%r")}
        self.options = tuple(word for name, value in shared.items() for word in ("-o", f"{name}={value}"))
        self._page_port, self._image = page_port, image(suite)
        if not (folder / "disk").exists():
            copy_disk(disk or self._image / "disk", folder / "disk")
        self._write_initrd()

    def command(self) -> list[str]:
        forwards = f"hostfwd=tcp:127.0.0.1:{self.port}-:22,hostfwd=tcp:127.0.0.1:{self.page}-:{self._page_port}"
        memory = shlex.quote(str(self.folder / MEMORY))
        return [
            *(EMULATOR, "-M", "virt", "-cpu", self.core.name, "-smp", str(os.cpu_count() or 1)),
            *("-m", str(_MEMORY_MB), "-display", "none", "-serial", "stdio", "-monitor", "none", "-nodefaults"),
            *("-qmp", f"unix:{self.folder / CONTROL},server=on,wait=off"),
            *(("-incoming", f"exec:cat {memory}") if (self.folder / MEMORY).exists() else ()),
            *("-kernel", str(self._image / "kernel"), "-initrd", str(self.folder / "initrd")),
            *("-append", f"console=ttyAMA0 {_KERNEL}"),
            *("-drive", f"file={self.folder / 'disk'},format=raw,if=none,id=disk,cache=unsafe,discard=unmap"),
            *("-device", "virtio-blk-pci,drive=disk"),
            *("-netdev", f"user,id=net,restrict=on,{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-rng-pci"),
        ]

    def start(self, timeout: float = 300) -> None:
        super().start(timeout)
        if (self.folder / MEMORY).exists():
            (self.folder / MEMORY).unlink()
            self.run(f"date --set=@{time.time():.0f}", user="root")

    def _write_initrd(self) -> None:
        keys = self.folder / "initrd-keys" / "keys"
        keys.mkdir(parents=True, exist_ok=True)
        (keys / "authorized_keys").write_text(public(self.key))
        shutil.copy(self.host_key, keys / "host-key")
        pack(keys.parent, self.folder / "keys.cpio")
        # The kernel unpacks one archive after the other.
        together = (self._image / "initrd").read_bytes() + (self.folder / "keys.cpio").read_bytes()
        (self.folder / "initrd").write_bytes(together)


def copy_disk(source: Path, target: Path) -> None:
    """Copies a disk of a machine that does not run; what was never written takes no room."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)
