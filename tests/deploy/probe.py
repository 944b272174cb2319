"""What a process may do, tried from inside; ``python3 probe.py NAME`` prints JSON. Every file it makes is called NAME.

``test_sandbox`` runs it as the service runs, and without any sandbox beside that. Python's standard library alone.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Folders that its user may write, as far as their owners and modes go (test_sandbox makes those called "open").
_OPEN = ("/etc", "/home", "/opt", "/run", "/srv", "/usr/local", "/var/lib", "/var/log")
FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/var/lib/edgewren", *(f"{folder}/open" for folder in _OPEN))
PRIVATE = ("/root", "/home", "/boot", "/srv", "/mnt", "/media")
_NEW_USER_NAMESPACE = 0x10000000


def outcome(action: Callable[[], object]) -> str:
    """``"done"``, or the name of the error."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def main() -> None:
    """Tries everything."""
    name = sys.argv[1]
    status = dict(row.split(":\t", 1) for row in Path("/proc/self/status").read_text().splitlines() if ":\t" in row)
    report = {
        "user": [os.getuid(), os.getgid()],
        "groups": os.getgroups(),
        "status": status,
        "writable": writable(),
        "writes": {place: outcome(Path(place, name).touch) for place in FOLDERS},
        "lists": {place: outcome(lambda at=place: os.listdir(at)) for place in PRIVATE},  # type: ignore[misc]
        "opens": {str(path): outcome(lambda at=path: open_device(at)) for path in devices()},  # type: ignore[misc]
        "strangers": strangers(),
        "calls": {key: outcome(action) for key, action in calls(Path("/var/lib/edgewren", f"{name}-mode")).items()},
    }
    print(json.dumps(report))


def writable() -> list[str]:
    """Of all folders those it may write in; what they are called, not whether there is room."""
    found = []
    for place, folders, _ in os.walk("/"):
        if place == "/":
            folders.remove("proc")
        if os.access(place, os.W_OK | os.X_OK):
            found.append(place)
    return sorted(found)


def devices() -> list[Path]:
    """All nodes below ``/dev`` but terminals, of which each process may have its own."""
    paths = sorted(Path(place, name) for place, _, files in os.walk("/dev") for name in files)
    kinds = {path: path.lstat().st_mode for path in paths if "pts" not in str(path) and "tty" not in path.name}
    return [path for path, kind in kinds.items() if stat.S_ISCHR(kind) or stat.S_ISBLK(kind)]


def open_device(path: Path) -> None:
    """Opens it and closes it again."""
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))


def strangers() -> int:
    """How many processes of others it sees."""
    own, seen = os.getuid(), 0
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                seen += Path("/proc", entry).stat().st_uid != own
            except OSError:
                continue
    return seen


def calls(file: Path) -> dict[str, Callable[[], object]]:
    """Requests to the kernel that a camera app has no need of."""
    libc = ctypes.CDLL(None, use_errno=True)

    def native(name: str, *arguments: object) -> None:
        if getattr(libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)

    def set_group_id() -> None:
        file.touch()
        file.chmod(0o2755)

    def become_root() -> None:
        if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
            raise PermissionError(errno.EPERM, "sudo")

    return {
        "a namespace of its own": lambda: native("unshare", _NEW_USER_NAMESPACE),
        "another host name": lambda: native("sethostname", b"wren", 4),
        "memory to write and to run": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
        "a raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "a socket to the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "a file that lends its group": set_group_id,
        "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "the kernel's log": lambda: native("klogctl", 3, None, 0),
        "a signal to another": lambda: os.kill(1, signal.SIGCONT),
        "to be root": lambda: os.setuid(0),
        "sudo": become_root,
    }


if __name__ == "__main__":
    main()
