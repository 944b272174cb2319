"""Moving pictures through OpenCV: files here; cameras and network streams beside it use the same reader."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import InputError, RunError
from runtime.files import check_file, ffmpeg_name
from runtime.frame import Frame
from runtime.provider import quiet_native_log

# Driver times further off than this are of another clock.
_MAX_AGE_S = 5.0
# Pictures in a row; a film that was cut off may say that it has any number more.
_LONGEST_DAMAGE = 1000
# A film with a smaller share of the frames it says it has is taken for cut off; some only estimate their number.
_WHOLE = 0.75


class VideoSource:
    """Frames of a video file, a camera or a stream.

    Args:
        capture: An open OpenCV capture whose first frame has been grabbed, as proof that it gives any.
        name: What a frame's ``source`` says.
        live: Whether frames arrive by the clock and may be skipped; false for files.
        about: What was negotiated, in words; by default size and rate.
        driver_clock: Whether the capture tells the monotonic time at which the driver got the picture.

    Attributes:
        paths: The file; none where there is no file.
        wanted: See :class:`runtime.sources.Asking`; only live sources ask.
    """

    def __init__(
        self, capture: cv2.VideoCapture, name: str, live: bool, about: str = "", driver_clock: bool = False
    ) -> None:
        self._capture = capture
        self._name = name
        self.paths = [] if live else [Path(name)]
        self._index = 0
        self._grabbed = True
        self._driver_clock = driver_clock
        self._film_start = 0.0
        self._length = 0 if live else int(max(0, capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.live = live
        self.wanted: Callable[[float], bool] | None = None
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps: float | None = float(fps) if 1 <= fps <= 1000 else None
        width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.about = about or f"{width}x{height}" + (f", {self.fps:.4g} frames/s" if self.fps else "")

    def read(self) -> Frame | None:
        """The next frame, ``None`` at the end of a file.

        Raises:
            RunError: A live source stopped.
        """
        good, captured = self._grab()
        while good and self.live and self.wanted and not self.wanted(captured):
            self._index += 1
            good, captured = self._grab()
        pixels = None
        if good:
            good, pixels = self._capture.retrieve()
        if not good or pixels is None:
            if self.live:
                raise RunError(
                    f"{self._name} stopped after {self._index} frames", "", "check the camera and start again"
                )
            return None
        media_time = None if self.live else self._film_start + self._index / (self.fps or 25.0)
        frame = Frame(np.asarray(pixels, np.uint8), "bgr", self._name, self._index, captured, media_time)
        self._index += 1
        return frame

    def rewind(self) -> bool:
        """Starts a file again from its first frame; live sources cannot."""
        if self.live or not (self._wound_back() or self._opened_again()):
            return False
        self._grabbed = True
        self._film_start += self._index / (self.fps or 25.0)
        self._index = 0
        return True

    def close(self) -> None:
        """Frees the device or file."""
        self._capture.release()

    def _wound_back(self) -> bool:
        """Whether FFmpeg finds the first frame again; it never says that it cannot, so the frame is the proof."""
        return self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0) and self._capture.grab()

    def _opened_again(self) -> bool:
        """Likewise for films without an index, such as .ts and .mpg, which cannot be wound back."""
        with quiet_native_log():
            return self._capture.open(ffmpeg_name(Path(self._name)), cv2.CAP_FFMPEG) and self._capture.grab()

    def _grab(self) -> tuple[bool, float]:
        """Takes the next picture as it came; the time is that before it is decoded, which is part of its latency."""
        good = self._grabbed or self._capture.grab() or self._pass_damage()
        self._grabbed = False
        return good, self._captured()

    def _pass_damage(self) -> bool:
        """Whether a film goes on behind pictures that cannot be decoded; they count as frames, so that time goes on."""
        read = self._index
        for _ in range(min(self._length - read, _LONGEST_DAMAGE)):
            self._index += 1
            if self._capture.grab():
                return True
        if read < _WHOLE * self._length and not self._film_start:
            note = f"{self._name} ends after {read} of about {self._length} frames; it may be damaged"
            print(f"note: {note}", file=sys.stderr)
        return False

    def _captured(self) -> float:
        now = time.monotonic()
        if self._driver_clock:
            told = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            if 0 <= now - told < _MAX_AGE_S:
                return told
        return now


def open_video(path: Path) -> VideoSource:
    """A video file.

    Raises:
        InputError: Missing, empty, or no video FFmpeg can read.
    """
    check_file(path, "an image, a video or a folder of images")
    with quiet_native_log():
        capture = cv2.VideoCapture(ffmpeg_name(path), cv2.CAP_FFMPEG)
        readable = capture.isOpened() and capture.grab()
    if not readable:
        raise InputError(
            f"{path} is not a video that can be read",
            "expected an image, a video such as .mp4, or a folder of images",
            "play it in a viewer, or convert it",
        )
    return VideoSource(capture, str(path), live=False)
