"""Before anything changes: is this board one that the release can run on? Every finding comes with its fix."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.settings import Target
from deploy.ssh import Link
from runtime.errors import EdgewrenError, InputError

PYTHON = "/usr/bin/python3"
_OLDEST, _NEWEST = (3, 11), (3, 14)
# What a first deployment needs: packages unpacked and compiled (230 MiB seen), the bundle beside it.
_OPT_MB, _HOME_MB, _MEMORY_MB = 400, 120, 350
_STATE_MB = 20
# A day: certificates, tokens and file dates are judged by the clock.
_SKEW_S, _SKEW_NOTE_S = 86400, 60
_SYSTEMD = 247
_ADMINISTRATORS = {"sudo", "admin", "wheel", "root"}
_ARCHITECTURES = {"aarch64": "aarch64", "arm64": "aarch64", "x86_64": "x86_64", "armv7l": "armv7l", "armv8l": "armv7l"}


@dataclass(frozen=True)
class Facts:
    """A board as it was found.

    Attributes:
        values: What ``deploy/facts.py`` printed.
        skew_s: The board's clock minus this one's.
    """

    values: dict[str, Any]
    skew_s: float

    @property
    def python(self) -> tuple[int, int]:
        """Major and minor version."""
        return (self.values["python"][0], self.values["python"][1])

    @property
    def architecture(self) -> str:
        """Of the user-land: a 64-bit kernel often runs a 32-bit Raspberry Pi OS. ``""`` where no wheels exist."""
        found = _ARCHITECTURES.get(self.values["machine"], "")
        if self.values["bits"] == 32:
            return "armv7l" if found in ("aarch64", "armv7l") else ""
        return found


@dataclass(frozen=True)
class Finding:
    """One check: what was seen, whether it stops the deployment, and what to do."""

    name: str
    ok: bool
    seen: str
    fix: str = ""


def ask(target: Target, config: Path | None) -> Facts:
    """Looks at a board; nothing is written there.

    Raises:
        InputError: It cannot be reached, has another host key than before, or no Python.
    """
    script = Path(__file__).with_name("facts.py").read_bytes()
    before = time.time()
    said = Link(target.address, config).run([PYTHON, "-", str(target.settings.port)], script)
    after = time.time()
    try:
        values = json.loads(said.output)
    except ValueError:
        reason = (said.errors.strip().splitlines() or ["no answer"])[-1]
        raise InputError(
            f"{target.address.text} has no working {PYTHON} ({reason})",
            "expected the Python of Raspberry Pi OS bookworm or trixie",
            "there: sudo apt install python3",
        ) from None
    return Facts(values, values["time"] - (before + after) / 2)


def examine(target: Target, facts: Facts) -> Iterator[Finding]:
    """All checks of one board."""
    for check in _CHECKS:
        yield check(target, facts)


def preflight(
    targets: list[Target], config: Path | None, password: str, say: Callable[[str], None]
) -> dict[str, Facts]:
    """Looks at all boards at once.

    Args:
        targets: The boards.
        config: ssh's configuration.
        password: For sudo, ``""`` where none was given.
        say: Takes a line for the user.

    Returns:
        Facts by the boards' names.

    Raises:
        InputError: Some board cannot take the release. The lines before the last were said already.
    """
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda target: _look(target, config, password), targets))
    faults = [error for _, _, errors in answers for error in errors]
    for target, (facts, notes, _) in zip(targets, answers, strict=True):
        if facts:
            say(f"{target.name}: {_summary(facts)}")
        for note in notes:
            say(f"{target.name}: note: {note.seen}; {note.fix}")
    for error in faults[:-1]:
        say(error.line())
    if faults:
        raise faults[-1]
    return {target.name: facts for target, (facts, _, _) in zip(targets, answers, strict=True) if facts}


def _look(
    target: Target, config: Path | None, password: str
) -> tuple[Facts | None, list[Finding], list[EdgewrenError]]:
    try:
        facts = ask(target, config)
    except EdgewrenError as error:
        return None, [], [InputError(error.seen, error.expected, error.action)]
    findings = list(examine(target, facts))
    if password and facts.values["sudo"] == "password":
        findings = [finding for finding in findings if finding.name != "sudo"]
        findings.append(_try_password(target, config, facts, password))
    faults: list[EdgewrenError] = [
        InputError(f"{target.address.text}: {finding.seen}", "nothing was changed there", finding.fix)
        for finding in findings
        if not finding.ok
    ]
    return facts, [finding for finding in findings if finding.ok and finding.fix], faults


def _summary(facts: Facts) -> str:
    values = facts.values
    python = ".".join(map(str, values["python"]))
    return (
        f"{values['model'] or values['machine']}, {values['os']}, {values['bits']} bits, Python {python}, "
        f"{values['memory_mb']} MiB, {values['opt_mb']} MiB free, release {values['release'] or 'none'}"
    )


def _system(target: Target, facts: Facts) -> Finding:
    values = facts.values
    if values["system"] != "Linux":
        return Finding("system", False, f"it runs {values['system']}", "use Raspberry Pi OS bookworm or trixie")
    if not values["systemd"]:
        return Finding("system", False, "it has no systemd, which runs the service", "use Raspberry Pi OS or Debian")
    good = values["systemd"] >= _SYSTEMD
    return Finding("system", good, f"systemd {values['systemd']}", "" if good else "upgrade to bookworm or trixie")


def _architecture(target: Target, facts: Facts) -> Finding:
    machine, bits = facts.values["machine"], facts.values["bits"]
    if not facts.architecture:
        fix = "use a 64-bit Raspberry Pi OS on a Pi 3, 4, 5 or Zero 2"
        return Finding("architecture", False, f"no interpreter exists for {machine}, {bits} bits", fix)
    if facts.architecture == "armv7l":
        return _thirty_two(facts)
    return Finding("architecture", True, machine)


def _thirty_two(facts: Facts) -> Finding:
    """tflite-runtime is all there is, up to Python 3.11, with Debian's NumPy and OpenCV."""
    if facts.python > (3, 11):
        version = ".".join(map(str, facts.python))
        seen = f"a 32-bit system with Python {version}, for which no TFLite runtime is published"
        return Finding("architecture", False, seen, "install the 64-bit Raspberry Pi OS, or 32-bit bookworm")
    lacking = [name for name in ("numpy", "cv2", "tornado") if name not in facts.values["modules"]]
    if lacking:
        packages = {"numpy": "python3-numpy", "cv2": "python3-opencv", "tornado": "python3-tornado"}
        fix = f"there: sudo apt install {' '.join(packages[name] for name in lacking)}"
        return Finding("architecture", False, f"a 32-bit system without {' and '.join(lacking)}", fix)
    return Finding("architecture", True, "32 bits", "no int8 op reaches XNNPACK there; a 64-bit system is faster")


def _python(target: Target, facts: Facts) -> Finding:
    version = ".".join(map(str, facts.python))
    if facts.python < _OLDEST:
        fix = "upgrade to Raspberry Pi OS bookworm (Python 3.11) or trixie (3.13)"
        return Finding("python", False, f"Python {version} is too old, expected 3.11 or newer", fix)
    if facts.python > _NEWEST:
        return Finding("python", False, f"Python {version} is newer than the wheels", "use bookworm or trixie")
    if not facts.values["venv"]:
        return Finding("python", False, "Python without its module venv", "there: sudo apt install python3-venv")
    return Finding("python", True, version)


def _disk(target: Target, facts: Facts) -> Finding:
    values = facts.values
    packages = any(name.startswith("packages-") for name in values["stored"])
    needs = {
        "opt_mb": ("/opt", 60 if packages else _OPT_MB, "the release"),
        "home_mb": ("the home folder", 20 if packages else _HOME_MB, "the wheelhouse"),
        "var_mb": ("/var/lib", _STATE_MB, "the service's state"),
    }
    for name, (where, need, what) in needs.items():
        if values[name] is not None and values[name] < need:
            seen = f"{values[name]} MiB free for {where}, {what} needs {need}"
            return Finding("disk", False, seen, "there: sudo apt clean, or remove what you do not need (df -h)")
    return Finding("disk", True, f"{values['opt_mb']} MiB free")


def _memory(target: Target, facts: Facts) -> Finding:
    total, available = facts.values["memory_mb"], facts.values["available_mb"]
    if total < _MEMORY_MB:
        return Finding(
            "memory", False, f"{total} MiB of memory, expected {_MEMORY_MB}", "use a board with 512 MB or more"
        )
    tight = available < 150
    return Finding("memory", True, f"{available} MiB available", "close other programs there" if tight else "")


def _clock(target: Target, facts: Facts) -> Finding:
    amount = abs(facts.skew_s)
    words = f"{amount / 86400:.0f} days" if amount > 2 * 86400 else f"{amount:.0f} s"
    seen = f"its clock is {words} {'ahead' if facts.skew_s > 0 else 'behind'}"
    fix = f"there: sudo timedatectl set-ntp true, or: sudo date -s @{time.time():.0f}"
    if amount > _SKEW_S:
        return Finding("clock", False, seen, fix)
    return Finding("clock", True, seen, fix if amount > _SKEW_NOTE_S else "")


def _camera(target: Target, facts: Facts) -> Finding:
    camera, cameras = target.settings.camera, facts.values["cameras"]
    if not camera:
        return Finding("camera", True, "none needed")
    if not facts.values["video_group"]:
        return Finding("camera", False, "there is no group video", "there: sudo groupadd --system video")
    if camera == "csi":
        good = "picamera2" in facts.values["modules"]
        fix = "" if good else "there: sudo apt install --no-install-recommends python3-picamera2"
        return Finding("camera", good, "picamera2" if good else "a CSI camera needs Picamera2, which it lacks", fix)
    if camera in cameras:
        return Finding("camera", True, camera)
    there = f"it has {', '.join(cameras[:4])}" if cameras else "it has no camera"
    fix = "plug one in, or give SOURCE=synthetic://cards, rtsp://.. or csi://0"
    return Finding("camera", False, f"{camera} is not there, {there}", fix)


def _try_password(target: Target, config: Path | None, facts: Facts, password: str) -> Finding:
    """Whether sudo takes a password."""
    if Link(target.address, config).is_password(password):
        return Finding("sudo", True, "password")
    user = facts.values["user"]
    seen = f"sudo does not take the password that was given for {user}"
    return Finding("sudo", False, seen, f"set EDGEWREN_SUDO_PASSWORD to {user}'s own{_may_not(facts)}")


def _may_not(facts: Facts) -> str:
    """What to do besides when the user is in none of the groups that usually may use sudo."""
    user, groups = facts.values["user"], facts.values["groups"]
    return "" if _ADMINISTRATORS & set(groups) else f", or there, as root: usermod -aG sudo {user}"


def _sudo(target: Target, facts: Facts) -> Finding:
    user, kind = facts.values["user"], facts.values["sudo"]
    if kind == "password":
        fix = "type make at a terminal, which asks for it, or set EDGEWREN_SUDO_PASSWORD"
        rights = _may_not(facts)
        seen = f"sudo asks {user} for a password{', and the user is in no group that may use it' if rights else ''}"
        return Finding("sudo", False, seen, fix + rights)
    if kind in ("no", "absent"):
        fix = f"there, as root: apt install sudo && usermod -aG sudo {user}"
        return Finding(
            "sudo", False, f"user {user} may not use sudo (groups: {', '.join(facts.values['groups'])})", fix
        )
    return Finding("sudo", True, kind)


def _port(target: Target, facts: Facts) -> Finding:
    who, port = facts.values["listener"], target.settings.port
    if not who or facts.values["active"]:
        return Finding("port", True, str(port))
    pid = who.rpartition("(pid ")[2].rstrip(")")
    stop = f"there: sudo kill {pid}" if pid.isdecimal() else f"there: sudo ss -ltnp 'sport = :{port}' names it"
    by = "another program" if who == "?" else who
    old = " (an old release, or one started by hand)" if "apps.live" in who else ""
    return Finding("port", False, f"port {port} is taken by {by}{old}", f"{stop}, or give PORT={port + 1}")


def _unfinished(target: Target, facts: Facts) -> Finding:
    if facts.values["unfinished"]:
        return Finding("switch", True, "a switch is under way or was cut off", "it is settled first")
    return Finding("switch", True, "none under way")


_CHECKS: tuple[Callable[[Target, Facts], Finding], ...] = (
    _system,
    _architecture,
    _python,
    _disk,
    _memory,
    _clock,
    _camera,
    _sudo,
    _port,
    _unfinished,
)
