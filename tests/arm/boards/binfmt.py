"""How the kernel learns to start ARM programs: one entry of our own, taken back by the last who uses it.

Debian's own entry does not keep the rights of a setuid program, so that ``sudo`` fails on a board. The kernel asks the
newest entry first: ours serves, and the machine's own are left as they were.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path("/proc/sys/fs/binfmt_misc")
_NAME = "edgewren-aarch64"
# An ELF header of a 64-bit little-endian program (executable or shared) for machine 0xb7.
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# The kernel opens the emulator now, keeps argv[0] and the credentials of the program.
_FLAGS = "OPCF"
# By this name Debian's emulator knows that it gets argv[0] as well.
_EMULATOR = Path("/usr/libexec/qemu-binfmt/aarch64-binfmt-P")
_LOCK = Path("/run/lock/edgewren-binfmt.lock")


@contextlib.contextmanager
def arm_programs() -> Iterator[None]:
    """The kernel starts aarch64 programs while this lasts.

    Every user holds a shared lock, which the kernel drops for one that is killed. The one who finds itself alone at
    its end removes the entry, also one that a killed process had left.
    """
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as lock:
        # Alone for a moment, so that nobody removes the entry between our look and our use.
        with _LOCK.with_suffix(".change").open("w") as change:
            fcntl.flock(change, fcntl.LOCK_EX)
            fcntl.flock(lock, fcntl.LOCK_SH)
            _register()
        try:
            yield
        finally:
            with _LOCK.with_suffix(".change").open("w") as change, contextlib.suppress(BlockingIOError):
                fcntl.flock(change, fcntl.LOCK_EX)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (_FOLDER / _NAME).write_text("-1")


def _register() -> None:
    if not (_FOLDER / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _FOLDER], check=True)
    if not (_FOLDER / _NAME).exists():
        (_FOLDER / "register").write_text(f":{_NAME}:M::{_MAGIC}:{_MASK}:{_EMULATOR}:{_FLAGS}")
