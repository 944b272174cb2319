"""What a board is like, as one JSON object on stdout. ``argv``: the page's port.

Sent to a board's python3, whichever it has: no syntax newer than Python 3.6. Writes nothing but its answer.
"""

import contextlib
import glob
import grp
import importlib.util
import json
import os
import platform
import pwd
import struct
import subprocess
import sys
import time


def first_lines(path: str) -> str:
    """The beginning of a file; empty where it cannot be read."""
    try:
        with open(path) as stream:
            return stream.read(65536)
    except (OSError, ValueError):
        return ""


def output(*command: str) -> str:
    """What a command printed; empty where it failed."""
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL).decode("utf-8", "replace").strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def pairs(text: str, sign: str) -> "dict[str, str]":
    """Lines of names and values."""
    found = {}  # type: dict[str, str]
    for line in text.splitlines():
        name, _, value = line.partition(sign)
        found[name.strip()] = value.strip().strip('"')
    return found


def free_mb(path: str) -> object:
    """MiB free where a folder is or would be made."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    try:
        room = os.statvfs(path)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize >> 20


def listener(port: int) -> str:
    """Who listens on a TCP port: its command line, "?" where that is hidden, "" where nobody does."""
    wanted = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in first_lines(table).splitlines()[1:]:
            cells = line.split()
            if len(cells) > 9 and cells[3] == "0A" and int(cells[1].rpartition(":")[2], 16) == port:
                wanted.add(f"socket:[{cells[9]}]")
    if not wanted:
        return ""
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) in wanted:
                pid = link.split("/")[2]
                command = first_lines(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
                return f"{command[:80]} (pid {pid})"
    return "?"


def groups() -> "list[str]":
    """Names of the user's groups."""
    names = []  # type: list[str]
    for number in os.getgroups():
        with contextlib.suppress(KeyError):
            names.append(grp.getgrgid(number).gr_name)
    return names


def sudo() -> str:
    """``root``, ``free``, ``password``, ``no`` or ``absent``."""
    if os.getuid() == 0:
        return "root"
    try:
        process = subprocess.Popen(
            ["sudo", "-n", "true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    except OSError:
        return "absent"
    errors = process.communicate()[1].decode("utf-8", "replace")
    if process.returncode == 0:
        return "free"
    return "password" if "password is required" in errors else "no"


def has_module(name: str) -> bool:
    """Whether Python finds a module."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def release() -> str:
    """Id of the release that runs."""
    try:
        return os.path.basename(os.readlink("/opt/edgewren/current"))
    except OSError:
        return ""


def stored() -> "list[str]":
    """What earlier deployments have left."""
    return sorted(
        os.path.basename(os.path.dirname(path))
        for path in glob.glob("/opt/edgewren/store/*/.complete") + glob.glob("/opt/edgewren/releases/*/.complete")
    )


def systemd() -> int:
    """Systemd's version; 0 where it does not run."""
    if not os.path.isdir("/run/systemd/system"):
        return 0
    words = output("systemctl", "--version").split()
    return int(words[1].split(".")[0]) if len(words) > 1 else 0


def main() -> None:
    """Prints the facts."""
    os_release = pairs(first_lines("/etc/os-release"), "=")
    memory = pairs(first_lines("/proc/meminfo"), ":")
    running = release()
    print(
        json.dumps(
            {
                "time": time.time(),
                "system": platform.system(),
                "os": os_release.get("PRETTY_NAME", ""),
                "codename": os_release.get("VERSION_CODENAME", ""),
                "machine": platform.machine(),
                "bits": 8 * struct.calcsize("P"),
                "model": first_lines("/proc/device-tree/model").strip("\0\n "),
                "python": list(sys.version_info[:3]),
                "glibc": platform.libc_ver()[1],
                "venv": has_module("venv"),
                "systemd": systemd(),
                "opt_mb": free_mb("/opt/edgewren"),
                "home_mb": free_mb(os.path.expanduser("~")),
                "var_mb": free_mb("/var/lib"),
                "memory_mb": int(memory.get("MemTotal", "0 kB").split()[0]) >> 10,
                "available_mb": int(memory.get("MemAvailable", "0 kB").split()[0]) >> 10,
                "cameras": sorted(glob.glob("/dev/video*")),
                "video_group": any(entry.gr_name == "video" for entry in grp.getgrall()),
                "user": pwd.getpwuid(os.getuid()).pw_name,
                "groups": groups(),
                "sudo": sudo(),
                "modules": [name for name in ("numpy", "cv2", "picamera2", "tornado") if has_module(name)],
                "listener": listener(int(sys.argv[1])) if len(sys.argv) > 1 and sys.argv[1] != "0" else "",
                "release": running,
                "active": running != "" and output("systemctl", "is-active", f"edgewren@{running}") == "active",
                "unfinished": os.path.exists("/opt/edgewren/switch.json"),
                "stored": stored(),
            }
        )
    )


main()
