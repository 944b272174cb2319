"""An annotated video file."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.detections import Detections
from runtime.draw import annotate
from runtime.errors import RunError
from runtime.files import check_writable, ffmpeg_name
from runtime.frame import Frame
from runtime.sinks.encoder import Encoder, even, fit, open_encoder, plays

_DEFAULT_FPS = 25.0
# A longer pause than this is cut short instead of showing one picture all the time.
_LONGEST_PAUSE_S = 5.0


class VideoSink:
    """Writes annotated frames to a video.

    The file grows under a scratch name and is put in place when it is complete. A video made of a live source plays at
    the speed of the world, whatever rate the board managed; long pauses are cut.

    Args:
        path: File name; the suffix chooses the container (.mp4, .mov, .mkv: H.264, or MPEG-4 part 2 where PyAV is
            missing; .avi: MJPEG).
        labels: Class names by class index.
        fps: Frames per second of the source, when known.
        live: Whether the frames' capture times, not their number, say how long the video is.

    Raises:
        InputError: The path cannot be written.
    """

    def __init__(self, path: Path, labels: tuple[str, ...], fps: float | None, live: bool) -> None:
        self._path = check_writable(path)
        ffmpeg_name(path)  # Refused now, not when the finished film is looked at.
        self._scratch = path.with_name(f".{path.stem[:60]}.{os.getpid()}.part{path.suffix}")
        self.labels = labels
        self._fps = fps or _DEFAULT_FPS
        self._live = live
        self._encoder: Encoder | None = None
        self._size = (0, 0)
        self._start = self._last = 0.0
        self._count = 0

    def write(self, frame: Frame, found: Detections) -> None:
        """Appends one frame.

        Raises:
            InputError: This kind of file cannot be written.
            RunError: The disk is full.
        """
        picture = annotate(frame, found, self.labels)
        try:
            encoder = self._encoder or self._open(frame)
            encoder.add(fit(picture, self._size), self._seconds(frame))
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Finishes the file and puts it in place; nothing is left when no frame came.

        Raises:
            RunError: The file could not be completed.
        """
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        try:
            encoder.close()
            if not plays(self._scratch):
                raise OSError("what was written does not play")
            os.replace(self._scratch, self._path)
        except OSError as error:
            raise self._failed(error) from None

    def _open(self, frame: Frame) -> Encoder:
        self._size = even(frame.width, frame.height)
        self._start = self._last = frame.captured
        self._encoder = open_encoder(self._scratch, self._size, self._fps)
        return self._encoder

    def _seconds(self, frame: Frame) -> float:
        if not self._live:
            self._count += 1
            return (self._count - 1) / self._fps
        pause, self._last = frame.captured - self._last, frame.captured
        self._start += max(0.0, pause - _LONGEST_PAUSE_S)
        return frame.captured - self._start

    def _failed(self, error: OSError) -> RunError:
        self._encoder = None
        self._scratch.unlink(missing_ok=True)
        return RunError(
            f"{self._path} could not be completed ({error.strerror or error})", "", "free disk space and retry"
        )
