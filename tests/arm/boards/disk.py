"""The disk, kernel and first programs of an emulated machine: Debian's kernel, a user-land, a virtual camera."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.arm.boards import debian
from tests.arm.boards.cache import kept
from tests.arm.boards.rootfs import rootfs

_INIT = Path(__file__).with_name("init.sh")
# In the first step the disk's; later the network's, the camera's and a source of random numbers.
_EARLY = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
_LATE = ("virtio_net", "virtio_rng", "vivid")
_DISK = "6G"
_EMULATOR = Path("/usr/bin/qemu-aarch64-static")
_NETWORK = "[Match]\nName=e*\n[Network]\nDHCP=yes\n"
_SSHD = """\
[Unit]
After=network.target
[Service]
RuntimeDirectory=sshd
ExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/sshd_board
"""
_SSHD_CONFIG = """\
HostKey /etc/ssh/host-key
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
Subsystem sftp internal-sftp
"""
# They would rebuild at every first boot what nothing here reads.
_LEFT_OUT = (
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-firstboot.service",
    "ssh.service",
    "ssh.socket",
)


def image(suite: str) -> Path:
    """A folder with ``disk`` (ext4, sparse), ``kernel`` and ``initrd``, from the cache; never to be written to."""
    here = Path(__file__)
    base = rootfs(suite)
    return kept(f"machine-{suite}", [here, _INIT, base.name], lambda target: _make(suite, base, target))


def _make(suite: str, base: Path, target: Path) -> None:
    root, kernel = target / "root", target / "kernel-root"
    root.parent.mkdir()
    debian.unpack(suite, "arm64", ["linux-image-arm64", "busybox-static"], kernel)
    modules = Modules(kernel)
    # Debian writes paths inside both folders; a copy keeps owners, links and times.
    subprocess.run(["cp", "-a", base, root], check=True)
    modules.install(_LATE, root)
    _compile_library(root)
    _configure(root)
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", root, target / "disk", _DISK], check=True, stdout=subprocess.DEVNULL
    )
    _initrd(kernel, modules, target)
    shutil.copy(next((kernel / "boot").glob("vmlinuz*")), target / "kernel")
    shutil.rmtree(root)
    shutil.rmtree(kernel)


class Modules:
    """The modules of an unpacked kernel."""

    def __init__(self, root: Path) -> None:
        if not (root / "lib").exists():
            (root / "lib").symlink_to("usr/lib")
        self._folder = next((root / "lib" / "modules").iterdir())
        self.version = self._folder.name
        subprocess.run(["depmod", "-b", root, self.version], check=True)
        lines = (self._folder / "modules.dep").read_text().splitlines()
        self._needs = {module: needed.split() for module, _, needed in (line.partition(":") for line in lines)}
        self._paths = {Path(module).name.split(".")[0].replace("-", "_"): module for module in self._needs}

    def order(self, names: tuple[str, ...]) -> list[Path]:
        """Files of modules and of all they need, in an order in which they can be loaded."""
        found: dict[str, None] = {}
        for name in names:
            if path := self._paths.get(name):  # Some are built in.
                found.update(dict.fromkeys([*reversed(self._needs[path]), path]))
        return [self._folder / module for module in found]

    def install(self, names: tuple[str, ...], root: Path) -> None:
        """Puts modules into a root folder, loaded at boot."""
        target = root / "usr" / "lib" / "modules" / self.version
        for module in self.order(names):
            copy = target / module.relative_to(self._folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(module, copy)
        for listing in [*self._folder.glob("modules.builtin*"), self._folder / "modules.order"]:
            shutil.copy(listing, target)
        subprocess.run(["depmod", "-b", root, self.version], check=True)
        (root / "etc" / "modules-load.d" / "board.conf").write_text("\n".join(names) + "\n")
        (root / "etc" / "modprobe.d" / "camera.conf").write_text("options vivid n_devs=1 node_types=0x1\n")


def _compile_library(root: Path) -> None:
    """What the script of Debian's package python3 does once: a service may not, and would compile at every start."""
    emulator = root / "emulator"
    shutil.copy(_EMULATOR, emulator)
    library = next((root / "usr" / "lib").glob("python3.*")).relative_to(root)
    words = ["/emulator", "/usr/bin/python3", "-E", "-S", "-m", "compileall", "-q", f"/{library}"]
    subprocess.run(["chroot", root, *words], check=True)
    emulator.unlink()


def _configure(root: Path) -> None:
    etc = root / "etc"
    units = etc / "systemd" / "system"
    wanted = units / "multi-user.target.wants"
    for folder in (wanted, etc / "systemd" / "network", etc / "ssh"):
        folder.mkdir(parents=True, exist_ok=True)
    (etc / "systemd" / "network" / "board.network").write_text(_NETWORK)
    (units / "board-sshd.service").write_text(_SSHD)
    (etc / "ssh" / "sshd_board").write_text(_SSHD_CONFIG)
    for link, path in (
        (wanted / "board-sshd.service", "../board-sshd.service"),
        (wanted / "systemd-networkd.service", "/usr/lib/systemd/system/systemd-networkd.service"),
        (units / "default.target", "/usr/lib/systemd/system/multi-user.target"),
        *((units / unit, "/dev/null") for unit in _LEFT_OUT),
    ):
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    (etc / "machine-id").write_text("7f000000000000000000000000000001\n")
    (etc / "fstab").write_text("/dev/vda / ext4 rw,noatime 0 0\n")


def _initrd(kernel: Path, modules: Modules, target: Path) -> None:
    root = target / "first"
    for folder in ("bin", "proc", "sys", "dev", "disk", "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy(_INIT, root / "init")
    (root / "init").chmod(0o755)
    shutil.copy(next(kernel.rglob("bin/busybox")), root / "bin" / "busybox")
    files = modules.order(_EARLY)
    for index, module in enumerate(files):
        shutil.copy(module, root / "modules" / f"{index:02}-{module.name}")
    pack(root, target / "initrd")
    shutil.rmtree(root)


def pack(folder: Path, target: Path) -> None:
    """An archive that the kernel unpacks at its start, owned by root."""
    names = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*")))
    with target.open("wb") as file:
        command = ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0"]
        subprocess.run(command, input=names.encode(), stdout=file, cwd=folder, check=True)
