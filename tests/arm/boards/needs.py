"""What this machine lacks for an emulated board, in one line, or nothing."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# Program: the Debian package that has it.
_USER_LAND = {
    "qemu-aarch64-static": "qemu-user-static",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
_MACHINE = {"qemu-system-aarch64": "qemu-system-arm", "mke2fs": "e2fsprogs", "cpio": "cpio", "depmod": "kmod"}
_COUNTING = {"qemu-aarch64": "qemu-user", "gcc": "gcc"}


def user_land() -> str:
    """Why no emulated user-land can be started here; empty where it can."""
    return _root() or _programs(_USER_LAND) or _binfmt()


def machine() -> str:
    """Why no emulated machine can be started here; empty where it can."""
    return user_land() or _programs(_MACHINE)


def counting() -> str:
    """Why instructions cannot be counted here; empty where they can."""
    return user_land() or _programs(_COUNTING)


def _root() -> str:
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "emulated boards need Linux and root (they mount and change their root folder)"
    return ""


def _programs(wanted: dict[str, str]) -> str:
    packages = sorted({package for program, package in wanted.items() if not shutil.which(program, path=_PATH)})
    return f"this machine lacks {', '.join(packages)} (apt install {' '.join(packages)})" if packages else ""


def _binfmt() -> str:
    if "binfmt_misc" in Path("/proc/filesystems").read_text() or Path("/proc/sys/fs/binfmt_misc/register").exists():
        return ""
    return "this kernel has no binfmt_misc, which starts programs of another processor"
