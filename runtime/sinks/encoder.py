"""Writers of video files: H.264 through PyAV, which every browser plays, and OpenCV's where PyAV is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from runtime.errors import InputError
from runtime.files import ffmpeg_name

_TICK = Fraction(1, 90_000)  # seconds: what MPEG uses, finer than any camera's jitter
_KEY_INTERVAL_S = 2.0
_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_DEFAULT_FPS = 25.0


class Encoder(Protocol):
    """A video file that grows.

    Attributes:
        frames: How many it holds.
    """

    frames: int

    def add(self, picture: npt.NDArray[np.uint8], seconds: float) -> None:
        """Appends a picture.

        Args:
            picture: ``(h, w, 3)`` uint8, blue, green, red, of the file's size.
            seconds: Since the first one; rising.

        Raises:
            OSError: The disk is full.
        """

    def close(self) -> None:
        """Completes the file.

        Raises:
            OSError: It could not be completed.
        """


def open_encoder(path: Path, size: tuple[int, int], fps: float | None) -> Encoder:
    """Starts a video file; the suffix chooses the container.

    With PyAV .mp4, .m4v, .mov and .mkv hold H.264 and are readable up to the last two seconds while they grow, so that
    a killed program leaves a video. Without it they hold MPEG-4 part 2 (.avi: MJPEG, always).

    Args:
        path: File name.
        size: Width and height, both even.
        fps: Frames per second, as far as known. OpenCV's files repeat and leave out frames to keep it.

    Raises:
        InputError: This kind of file cannot be written here.
        OSError: Nothing can be written there.
    """
    if path.suffix.lower() != ".avi" and has_h264():
        return H264Encoder(path, size, fps or _DEFAULT_FPS)
    return OpenCvEncoder(path, size, fps or _DEFAULT_FPS)


def has_h264() -> bool:
    """Whether PyAV is here and can encode H.264."""
    try:
        import av
    except ImportError:
        return False
    return "libx264" in av.codecs_available


def fit(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A picture at a video's size: cropped by the odd pixel, or letterboxed when it is of another shape.

    Args:
        picture: ``(h, w, 3)`` uint8.
        size: Width and height.
    """
    width, height = size
    if picture.shape[1] - width in (0, 1) and picture.shape[0] - height in (0, 1):
        return np.ascontiguousarray(picture[:height, :width])
    ratio = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * ratio)), max(1, round(picture.shape[0] * ratio)))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas


def even(width: int, height: int) -> tuple[int, int]:
    """The size of a video for pictures of this size: video codecs want even sides."""
    return max(2, width & ~1), max(2, height & ~1)


class H264Encoder:
    """H.264 with the times the pictures were given, by PyAV; arguments as for :func:`open_encoder`."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        import av

        self.frames = 0
        self._make_frame = av.VideoFrame.from_ndarray
        self._key = av.video.frame.PictureType.I
        self._last, self._next_key = -1, 0.0
        container = _CONTAINERS[path.suffix.lower()]
        # Fragments, which turn into a plain file when it is closed; Matroska's clusters are written one by one anyway.
        options = {"cluster_time_limit": "2000"} if container == "matroska" else {"movflags": "hybrid_fragmented"}
        # Our own descriptor: FFmpeg leaks its own where the disk is full.
        self._disk = path.open("wb", buffering=0)
        self._file: Any = av.open(self._disk, "w", format=container, options={**options, "flush_packets": "1"})
        # Of x264's presets the fastest that still compresses well; no lookahead, so that a kill loses little.
        choice = {"preset": "superfast", "tune": "zerolatency", "crf": "25", "forced-idr": "1"}
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = self._file.add_stream("libx264", rate=rate, options=choice)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = _TICK
        # The network wants the other cores.
        context.thread_count = 1
        # What OpenCV's conversion gives: BT.601, 16..235. Players guess BT.709 for large pictures.
        context.colorspace, context.color_range = 5, 1

    def add(self, picture: npt.NDArray[np.uint8], seconds: float) -> None:
        planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = self._make_frame(planes, format="yuv420p")
        self._last = max(self._last + 1, round(seconds / _TICK))
        frame.pts, frame.time_base = self._last, _TICK
        # By the clock, not by count: a board that slows down must not lose more by a kill.
        if seconds >= self._next_key:
            frame.pict_type, self._next_key = self._key, seconds + _KEY_INTERVAL_S
        self._write(frame)
        self.frames += 1

    def close(self) -> None:
        with self._disk:
            try:
                self._write(None)
            finally:
                with _disk_errors():
                    self._file.close()

    def _write(self, frame: Any) -> None:
        with _disk_errors():
            for packet in self._stream.encode(frame):
                self._file.mux(packet)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """After a failed write PyAV tells of its own state instead of the disk's."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise OSError(getattr(error, "strerror", None) or str(error)) from None


class OpenCvEncoder:
    """MPEG-4 part 2 or MJPEG at a fixed rate, by OpenCV; arguments as for :func:`open_encoder`."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self.frames = 0
        self._path = path
        self._fps = fps
        code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix.lower() == ".avi" else "mp4v"))
        self._writer = cv2.VideoWriter(ffmpeg_name(path), cv2.CAP_FFMPEG, code, fps, size)
        if not self._writer.isOpened():
            path.unlink(missing_ok=True)
            raise InputError(f"{path} cannot be written as a video", "", "choose FILE.mp4 or a folder")

    def add(self, picture: npt.NDArray[np.uint8], seconds: float) -> None:
        for _ in range(round(seconds * self._fps) + 1 - self.frames):
            self._writer.write(picture)
            self.frames += 1

    def close(self) -> None:
        self._writer.release()
        # OpenCV reports no failed write: on a full disk only the finished file tells.
        if not plays(self._path):
            raise OSError("what was written does not play")


def plays(path: Path) -> bool:
    """Whether a video's first frame can be read."""
    capture = cv2.VideoCapture(ffmpeg_name(path), cv2.CAP_FFMPEG)
    good = capture.isOpened() and capture.grab()
    capture.release()
    return good
