"""V4L2 cameras: USB webcams, and whatever else Linux shows as ``/dev/video0``."""

from __future__ import annotations

import contextlib
import errno
import glob
import grp
import os
import pwd
import struct
from pathlib import Path

import cv2

from runtime.errors import InputError
from runtime.grammar import is_number
from runtime.sources.query import Query
from runtime.sources.video import VideoSource

_EXPECTED = "expected v4l2:///dev/video0, or with any of ?size=1280x720&fps=30&format=mjpg"
_FORMATS = {"mjpg": "MJPG", "yuyv": "YUYV", "any": ""}

# https://docs.kernel.org/userspace-api/media/v4l/vidioc-querycap.html: struct v4l2_capability is driver[16], card[32],
# bus_info[32], then version, capabilities, device_caps and three reserved words.
_CAPABILITY = struct.Struct("=16s32s32s6I")
_VIDIOC_QUERYCAP = 0x80685600
_VIDEO_CAPTURE = 0x00000001
_DEVICE_CAPS = 0x80000000
# Drivers of CSI camera receivers; what they give is raw sensor data for libcamera.
_CSI_DRIVERS = ("unicam", "rp1-cfe", "bcm2835-isp", "pispbe")


def open_camera(uri: str) -> VideoSource:
    """A V4L2 camera: ``0``, ``/dev/video0`` or ``v4l2:///dev/video0``, each with ``?size=1280x720&fps=30&format=mjpg``.

    Size and rate are wishes: the camera gives the nearest it can, and the source's ``about`` says what was agreed.
    MJPG is preferred, because USB 2 carries uncompressed 1280x720 at 10 frames/s only; ``yuyv`` saves the decoding
    where that is enough, ``any`` leaves the choice to the driver.

    Raises:
        InputError: A bad name; no such device, no permission, in use, or not a camera.
    """
    query = Query(uri.removeprefix("v4l2://"), ("size", "fps", "format"), _EXPECTED)
    # The kernel has numbers below 2 ** 20.
    device = f"/dev/video{int(query.name)}" if is_number(query.name, 7) else query.name
    size = query.size((1280, 720), 16)
    fps = query.number("fps", 30, 1, 240)
    code = _FORMATS[query.word("format", "mjpg", tuple(_FORMATS))]
    card, driver = _check(device)
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    if capture.isOpened():
        _negotiate(capture, size, fps, code)
    if not (capture.isOpened() and capture.grab()):
        capture.release()
        raise _refused(device, driver)
    return VideoSource(capture, device, live=True, about=_agreed(capture, card), driver_clock=True)


def _negotiate(capture: cv2.VideoCapture, size: tuple[int, int], fps: int, code: str) -> None:
    # The format first: which sizes and rates there are depends on it.
    if code:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*code))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    capture.set(cv2.CAP_PROP_FPS, fps)
    # One buffer in the driver: a queue of old frames is latency that no later stage can take back.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)


def _agreed(capture: cv2.VideoCapture, card: str) -> str:
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    number = int(capture.get(cv2.CAP_PROP_FOURCC))
    code = number.to_bytes(4, "little", signed=number < 0).decode("ascii", "replace").strip("\0 ")
    return f"{width}x{height} {code}, {capture.get(cv2.CAP_PROP_FPS):.4g} frames/s, {card}"


def _check(device: str) -> tuple[str, str]:
    """The camera's and its driver's names; refuses what is no camera this program may use."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise InputError(f"no permission for {device}", *_permission(device)) from None
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _refused(device, "") from None
        seen = f"no camera at {device}" if error.errno != errno.EISDIR else f"{device} is a folder"
        raise InputError(seen, f"cameras on this machine: {_cameras()}", "plug one in, or name another") from None
    try:
        card, driver, captures = _capability(descriptor)
    finally:
        os.close(descriptor)
    if not captures:
        raise InputError(f"{device} is no camera", f"cameras on this machine: {_cameras()}", "name another")
    return card, driver


def _capability(descriptor: int) -> tuple[str, str, bool]:
    """Card, driver, and whether it captures pictures; the names are empty for what is not V4L2 at all."""
    import fcntl  # Not on every system that reads files.

    try:
        answer = fcntl.ioctl(descriptor, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:
        return "", "", False
    driver, card, _, _, everything, of_node, *_ = _CAPABILITY.unpack(answer)
    offered = of_node if everything & _DEVICE_CAPS else everything
    return _text(card), _text(driver), bool(offered & _VIDEO_CAPTURE)


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _cameras() -> str:
    """The devices that capture pictures, with their names; nodes for metadata and codecs are none."""
    found = []
    for device in sorted(glob.glob("/dev/video*"), key=lambda name: (len(name), name)):
        with contextlib.suppress(OSError):
            descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                card, _, captures = _capability(descriptor)
            finally:
                os.close(descriptor)
            if captures:
                found.append(f"{device} ({card})")
    return ", ".join(found) or "none"


def _permission(device: str) -> tuple[str, str]:
    """Which group may open a device, and how to join it."""
    group = "video"
    with contextlib.suppress(OSError, KeyError):
        facts = os.stat(device)
        if not facts.st_gid or facts.st_mode & 0o060 != 0o060:
            # No group helps: udev has not seen it, or somebody made it.
            return (
                "expected one that the group video may read and write",
                f"sudo chgrp video {device}; sudo chmod 660 {device}",
            )
        entry = grp.getgrgid(facts.st_gid)
        group = entry.gr_name
        if pwd.getpwuid(os.getuid()).pw_name in entry.gr_mem and facts.st_gid not in os.getgroups():
            return f"expected a login since you are in the group {group}", "log in again"
    return f"expected to be in the group {group}", f"sudo usermod -aG {group} $USER, then log in again"


def _refused(device: str, driver: str) -> InputError:
    """Why a camera that is there gives no pictures."""
    if driver in _CSI_DRIVERS:
        return InputError(f"{device} gives raw sensor data only", "", "use csi://0 for a camera on the ribbon cable")
    if user := _user_of(device):
        return InputError(
            f"{device} is in use by {user}", "expected a camera that no other program uses", "close that program"
        )
    return InputError(
        f"{device} gives no pictures",
        "expected a V4L2 camera that no other program uses",
        f"close that program (sudo fuser -v {device} names it)",
    )


def _user_of(device: str) -> str:
    """The other program that has a device open, as ``name (pid)``; empty where it cannot be told."""
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == device and (pid := link.split("/")[2]) != str(os.getpid()):
                return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (process {pid})"
    return ""
