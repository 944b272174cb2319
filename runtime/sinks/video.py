"""An annotated video file."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.draw import annotate
from runtime.errors import InputError, RunError
from runtime.files import check_writable
from runtime.frame import Frame
from runtime.provider import quiet_native_log

_DEFAULT_FPS = 25.0
# A pause longer than this is cut instead of filled with copies of one picture.
_MAX_REPEATS = 100


class VideoSink:
    """Writes annotated frames to a video.

    The file grows under a scratch name and is put in place when it is complete. Frames of a live source are repeated
    or left out so that the video plays at the speed of the world, whatever rate the board managed.

    Args:
        path: File name; the suffix chooses the container (.mp4, .mov, .mkv: MPEG-4; .avi: MJPEG).
        labels: Class names by class index.
        fps: Frames per second of the source, when known.
        live: Whether the frames' capture times, not their number, say how long the video is.

    Raises:
        InputError: The path cannot be written.
    """

    def __init__(self, path: Path, labels: tuple[str, ...], fps: float | None, live: bool) -> None:
        self._path = check_writable(path)
        self._scratch = path.with_name(f".{path.stem[:60]}.{os.getpid()}.part{path.suffix}")
        self.labels = labels
        self._fps = fps or _DEFAULT_FPS
        self._live = live
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._start = 0.0
        self._count = 0

    def write(self, frame: Frame, found: Detections) -> None:
        """Appends one frame.

        Raises:
            InputError: OpenCV cannot write this kind of file.
        """
        picture = annotate(frame, found, self.labels)
        writer = self._writer or self._open(frame)
        for _ in range(self._repeats(frame)):
            writer.write(_fit(picture, self._size))
            self._count += 1

    def close(self) -> None:
        """Finishes the file and puts it in place; nothing is left when no frame came.

        Raises:
            RunError: The file could not be completed.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            # OpenCV reports no failed write: on a full disk only the finished file tells.
            if not _plays(self._scratch):
                raise OSError("what was written does not play")
            os.replace(self._scratch, self._path)
        except OSError as error:
            self._scratch.unlink(missing_ok=True)
            raise RunError(f"{self._path} could not be completed ({error})", "", "free disk space and retry") from None

    def _open(self, frame: Frame) -> cv2.VideoWriter:
        # MPEG-4 wants even sides.
        self._size = (max(2, frame.width & ~1), max(2, frame.height & ~1))
        self._start = frame.captured
        code = cv2.VideoWriter.fourcc(*("MJPG" if self._path.suffix.lower() == ".avi" else "mp4v"))
        with quiet_native_log():
            writer = cv2.VideoWriter(str(self._scratch), cv2.CAP_FFMPEG, code, self._fps, self._size)
        if not writer.isOpened():
            self._scratch.unlink(missing_ok=True)
            raise InputError(f"{self._path} cannot be written as a video", "", "choose FILE.mp4 or a folder")
        self._writer = writer
        return writer

    def _repeats(self, frame: Frame) -> int:
        if not self._live:
            return 1
        due = round((frame.captured - self._start) * self._fps) + 1
        repeats = due - self._count
        if repeats > _MAX_REPEATS:
            self._start += (repeats - 1) / self._fps
            return 1
        return max(0, repeats)


def _plays(path: Path) -> bool:
    """Whether a video's first frame can be read."""
    with quiet_native_log():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        good = capture.isOpened() and capture.grab()
        capture.release()
    return good


def _fit(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The picture at the video's size: cropped by the odd pixel, or letterboxed when it is of another shape."""
    width, height = size
    if picture.shape[1] - width in (0, 1) and picture.shape[0] - height in (0, 1):
        return np.ascontiguousarray(picture[:height, :width])
    ratio = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * ratio)), max(1, round(picture.shape[0] * ratio)))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas
