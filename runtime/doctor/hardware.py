"""Checks of the board and what is plugged into it."""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

from runtime import board
from runtime.cores import available_cores
from runtime.doctor.check import Check

_MIN_FREE_MB = 500
_MIN_MEMORY_MB = 150
_TIMEOUT_S = 60
_DEVICES = "/dev/video*"
_WEAK = "under-voltage"
_JOIN = "sudo usermod -aG video $USER, then log in again"
# Names of a Raspberry Pi's own receivers and processors of pictures; what else is a sub-device is a sensor.
_NO_SENSOR = re.compile(r"csi|isp|cfe|unicam|codec", re.IGNORECASE)
# How the names of its devices begin that are receivers, processors and decoders of pictures: every board has some.
_NO_CAMERA = ("unicam", "rp1-cfe", "bcm2835-isp", "pispbe", "bcm2835-codec", "rpi-hevc-dec", "rpivid")


def processor() -> Check:
    """Its name and what makes int8 fast on it."""
    features = " ".join(board.cpu_features()) or "none of the int8 extensions known here"
    return Check("processor", True, f"{board.cpu_name()}, {available_cores()} cores, {features}")


def memory() -> Check:
    """What programs can still have."""
    free = board.free_memory_mb()
    if free is None:
        return Check("memory", True, "unknown")
    good = free >= _MIN_MEMORY_MB
    fix = "" if good else "end other programs (a desktop takes 300 MiB: sudo raspi-config, Boot, Console), or add swap"
    return Check("memory", good, f"{free:.0f} MiB free", fix)


def disk() -> Check:
    """Room for recordings and releases, here."""
    free = shutil.disk_usage(Path.cwd()).free >> 20
    good = free >= _MIN_FREE_MB
    return Check("disk", good, f"{free} MiB free here", "" if good else f"free at least {_MIN_FREE_MB} MiB")


def camera() -> Check:
    """Cameras that Video4Linux knows."""
    devices = [device for device in sorted(glob.glob(_DEVICES)) if not _name(device).startswith(_NO_CAMERA)]
    if not devices:
        return Check("camera", True, "none found; videos, images and network streams work without one")
    if not any(os.access(device, os.R_OK | os.W_OK) for device in devices):
        return Check("camera", False, f"no permission for {', '.join(devices)}", _JOIN)
    return Check("camera", True, ", ".join(f"{device}{_label(device)}" for device in devices))


def permissions() -> Check:
    """Whether this user may open cameras."""
    name = _user()
    if os.geteuid() == 0:
        return Check("permissions", True, "root may open every camera")
    try:
        group = grp.getgrnam("video")
    except KeyError:
        return Check("permissions", True, "this system has no group video")
    if group.gr_gid in (*os.getgroups(), os.getegid()):
        return Check("permissions", True, f"{name} is in the group video")
    if name in group.gr_mem:
        fix = "log in again"
        return Check("permissions", False, f"{name} is in the group video, but was not when this session began", fix)
    if not glob.glob(_DEVICES):
        return Check("permissions", True, f"{name} is not in the group video; there is no camera to open")
    return Check("permissions", False, f"{name} is not in the group video", _JOIN)


def csi_camera() -> Check:
    """The camera on a Raspberry Pi's own connector, which OpenCV cannot open: Picamera2 does."""
    sensors = _sensors()
    if not sensors:
        return Check("csi camera", True, "none connected")
    # In a child process: they bring native code of the system's, perhaps built for another NumPy.
    command = [sys.executable, "-c", "import libcamera, picamera2"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        failure = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it died"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = str(error)
    if failure:
        fix = "sudo apt install python3-picamera2, and make the environment with python3 -m venv --system-site-packages"
        return Check("csi camera", False, f"{', '.join(sensors)}; Picamera2 cannot be imported ({failure})", fix)
    return Check("csi camera", True, f"{', '.join(sensors)}, through Picamera2")


def heat() -> Check:
    """Whether the board is too hot."""
    degrees, clock, throttle = board.temperature(), board.frequency(), board.throttle()
    parts = ["temperature unknown" if degrees is None else f"{degrees:.0f} degrees C"]
    if clock is not None:
        parts.append(f"{clock:.0f} MHz")
    slowed = [word for word in throttle.now if word != _WEAK] if throttle else []
    hot = degrees is not None and degrees >= board.HOT_CELSIUS
    # Throttling without heat comes from the supply; that is the other check's finding.
    good = not hot and not (slowed and throttle and _WEAK not in throttle.now)
    fix = "" if good else "give the board a fan or a heat sink, and air"
    return Check("heat", good, ", ".join([*parts, *slowed]), fix)


def power() -> Check:
    """Whether the supply is strong enough, and what has slowed the board down since it was started."""
    throttle = board.throttle()
    if throttle is None:
        # It may be there and refuse, as it does whoever is not in the group video.
        why = "vcgencmd does not say" if shutil.which("vcgencmd") else "no vcgencmd"
        return Check("power", True, f"throttling unknown ({why})")
    before = f"; since the start: {', '.join(throttle.since_boot)}" if throttle.since_boot else ""
    detail = f"{', '.join(throttle.now) or 'not throttled'}{before}"
    good = _WEAK not in throttle.now
    return Check("power", good, detail, "" if good else "use the board's own power supply and a short cable")


def _label(device: str) -> str:
    """What the driver calls a camera, in brackets."""
    name = _name(device)
    return f" ({name})" if name else ""


def _name(device: str) -> str:
    """What the driver calls a device; empty where it does not say."""
    return board.read(board.SYSFS / "class/video4linux" / Path(device).name / "name").strip()


def _sensors() -> list[str]:
    """Camera sensors on a ribbon cable."""
    paths = sorted((board.SYSFS / "class/video4linux").glob("v4l-subdev*/name"))
    names = (board.read(path).strip() for path in paths)
    return [name for name in names if name and not _NO_SENSOR.search(name)]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
