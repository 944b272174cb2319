"""Moving pictures through OpenCV: files, cameras and network streams."""

from __future__ import annotations

import glob
import os
import time
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import InputError, RunError
from runtime.files import check_file
from runtime.frame import Frame
from runtime.provider import quiet_native_log

_STREAM_TIMEOUT_MS = 10_000


class VideoSource:
    """Frames of a video file, a camera or a stream.

    Args:
        capture: An open OpenCV capture whose first frame has been grabbed, as proof that it gives any.
        name: What a frame's ``source`` says.
        live: Whether frames arrive by the clock and may be skipped; false for files.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str, live: bool) -> None:
        self._capture = capture
        self._name = name
        self._index = 0
        self._grabbed = True
        self.live = live
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps: float | None = float(fps) if 1 <= fps <= 1000 else None

    def read(self) -> Frame | None:
        """The next frame, ``None`` at the end of a file.

        Raises:
            RunError: A live source stopped.
        """
        good, pixels = self._capture.retrieve() if self._grabbed else self._capture.read()
        self._grabbed = False
        if not good or pixels is None:
            if self.live:
                raise RunError(
                    f"{self._name} stopped after {self._index} frames", "", "check the camera and start again"
                )
            return None
        frame = Frame(np.asarray(pixels, np.uint8), "bgr", self._name, self._index, time.monotonic())
        self._index += 1
        return frame

    def rewind(self) -> bool:
        """Starts a file again from its first frame; live sources cannot."""
        if self.live or not self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0):
            return False
        self._index = 0
        return True

    def close(self) -> None:
        """Frees the device or file."""
        self._capture.release()


def open_video(path: Path) -> VideoSource:
    """A video file.

    Raises:
        InputError: Missing, empty, or no video FFmpeg can read.
    """
    check_file(path, "an image, a video or a folder of images")
    with quiet_native_log():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        readable = capture.isOpened() and capture.grab()
    if not readable:
        raise InputError(
            f"{path} is not a video that can be read",
            "expected an image, a video such as .mp4, or a folder of images",
            "play it in a viewer, or convert it",
        )
    return VideoSource(capture, str(path), live=False)


def open_camera(device: str) -> VideoSource:
    """A V4L2 camera such as ``/dev/video0``.

    Raises:
        InputError: No such device, no permission, or not a camera.
    """
    if not os.path.exists(device):
        found = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
        raise InputError(f"no camera at {device}", f"cameras on this machine: {found}", "plug one in, or name another")
    if not os.access(device, os.R_OK | os.W_OK):
        raise InputError(f"no permission for {device}", "", "sudo usermod -aG video $USER, then log in again")
    with quiet_native_log():
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        # One buffer in the driver: a queue of old frames is latency that no later stage can take back.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        readable = capture.isOpened() and capture.grab()
    if not readable:
        raise InputError(f"{device} gives no pictures", "expected a V4L2 camera that no other program uses")
    return VideoSource(capture, device, live=True)


def open_stream(url: str) -> VideoSource:
    """A network camera (RTSP, or MJPEG over HTTP).

    Raises:
        InputError: Nothing readable answers within 10 s.
    """
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _STREAM_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _STREAM_TIMEOUT_MS]
    with quiet_native_log():
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)
        readable = capture.isOpened() and capture.grab()
    if not readable:
        raise InputError(f"{url} gives no pictures", "expected a stream FFmpeg can read", "check the address")
    return VideoSource(capture, url, live=True)
