"""Cameras on the ribbon cable of a Raspberry Pi, through Picamera2 (libcamera)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from runtime.errors import InputError, RunError
from runtime.frame import Frame
from runtime.grammar import is_number
from runtime.sources.query import BadNameError, Query

_EXPECTED = "expected csi://0, or with any of ?size=1280x720&fps=30"
_INSTALL = (
    "sudo apt install python3-picamera2, and an environment that sees the system's packages "
    "(python3 -m venv --system-site-packages)"
)
_MAX_AGE_S = 5.0
_NANO = 1e-9
_LEAST_SMALL = 180  # pixels


class CsiSource:
    """The newest frames of a Picamera2 camera: its main stream for the picture, its small one for the network.

    Picamera2's ``RGB888`` lies as blue, green, red in memory, which is OpenCV's order, so a frame's ``color`` is
    ``bgr``: https://github.com/raspberrypi/picamera2/issues/848. The small stream (``lores``) is ``YUV420`` on every
    board.

    Args:
        camera: A started Picamera2 with an ``RGB888`` main stream.
        name: What a frame's ``source`` says.
        fps: Frames per second asked for.
        about: What was agreed, in words.
        small: Width and height of the small stream; ``None`` where there is none.

    Attributes:
        wanted: See :class:`runtime.sources.Asking`.
    """

    live = True

    def __init__(self, camera: Any, name: str, fps: float, about: str, small: tuple[int, int] | None = None) -> None:
        self._camera = camera
        self._name = name
        self._index = 0
        self._small = small
        self.wanted: Callable[[float], bool] | None = None
        self.fps: float | None = fps
        self.about = about

    def read(self) -> Frame:
        """The newest frame.

        Raises:
            RunError: The camera stopped.
        """
        while True:
            frame = self._take()
            self._index += 1
            if frame:
                return frame

    def _take(self) -> Frame | None:
        """The newest picture; ``None`` where it is not wanted."""
        request = None
        try:
            request = self._camera.capture_request()
            captured = _captured(request.get_metadata())
            if self.wanted and not self.wanted(captured):
                return None
            # A copy: the camera takes its buffer back.
            pixels = np.array(request.make_array("main"), np.uint8)
            small = _from_yuv(request.make_array("lores"), self._small) if self._small else None
        except (RuntimeError, OSError, TimeoutError) as error:
            raise RunError(f"{self._name} stopped ({error})", "", "check the cable and start again") from None
        finally:
            if request is not None:
                request.release()
        return Frame(pixels, "bgr", self._name, self._index, captured, small=small)

    def rewind(self) -> bool:
        """A camera has no beginning to go back to."""
        return False

    def close(self) -> None:
        """Frees the camera."""
        with contextlib.suppress(RuntimeError, OSError):
            self._camera.stop()
        self._camera.close()


def open_csi(uri: str) -> CsiSource:
    """The camera ``csi://0?size=1280x720&fps=30``; the number counts the connected ones.

    Raises:
        InputError: A bad name, no Picamera2, no such camera, or one that is in use.
    """
    query = Query(uri, ("size", "fps"), _EXPECTED)
    number = query.name.removeprefix("csi://")
    if not is_number(number, 2):
        raise BadNameError(f"{uri} is not a source this version knows", _EXPECTED)
    size = query.size((1280, 720))
    fps = query.number("fps", 30, 1, 240)
    library = _picamera2()
    found = library.Picamera2.global_camera_info()
    if int(number) >= len(found):
        names = ", ".join(f"csi://{index} ({entry.get('Model', '?')})" for index, entry in enumerate(found)) or "none"
        raise InputError(
            f"no camera at csi://{number}", f"cameras on the ribbon cables: {names}", "check the cable, power off first"
        )
    try:
        camera = library.Picamera2(int(number))
    except (RuntimeError, IndexError) as error:
        raise InputError(
            f"csi://{number} cannot be opened ({error})",
            "expected a camera that no other program uses",
            "close that program",
        ) from None
    return _start(camera, f"csi://{number}", size, fps)


def _start(camera: Any, name: str, size: tuple[int, int], fps: int) -> CsiSource:
    lores = _small_size(size)
    streams = {"lores": {"size": lores, "format": "YUV420"}} if lores else {}
    try:
        camera.configure(
            camera.create_video_configuration(
                main={"size": size, "format": "RGB888"},
                **streams,
                colour_space=_color_space(),
                controls={"FrameRate": float(fps)},
                # Two: one is filled while the other is read. More would queue old frames.
                buffer_count=2,
                queue=False,
            )
        )
        camera.start()
    except (RuntimeError, ValueError) as error:
        camera.close()
        raise InputError(f"{name} cannot give {size[0]}x{size[1]} at {fps} frames/s ({error})", _EXPECTED) from None
    # libcamera rounds sizes to what the sensor and the image processor can do.
    agreed = camera.camera_configuration()
    width, height = agreed["main"]["size"]
    small = agreed["lores"]["size"] if lores else None
    model = camera.camera_properties.get("Model", "camera")
    about = f"{width}x{height} RGB888{f' and {small[0]}x{small[1]} YUV420' if small else ''}, {fps} frames/s, {model}"
    return CsiSource(camera, name, float(fps), about, small)


def _small_size(size: tuple[int, int]) -> tuple[int, int] | None:
    """Half of the picture each way, where that is of use to a network; even, as YUV420 is."""
    width, height = (side // 4 * 2 for side in size)
    return (width, height) if min(width, height) >= _LEAST_SMALL else None


def _from_yuv(planes: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A picture in OpenCV's order of a YUV420 buffer, whose rows may be longer than the picture is wide."""
    pixels = np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), np.uint8)
    return np.ascontiguousarray(pixels[: size[1], : size[0]])


def _color_space() -> Any:
    """BT.601 in 16..235, as OpenCV reads YUV; Picamera2 would choose BT.709 for large pictures."""
    import libcamera

    return libcamera.ColorSpace.Smpte170m()


def _picamera2() -> Any:
    # Its log would stand between a user and the one error line that matters.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    try:
        import picamera2
    except ImportError as error:
        raise InputError(f"csi:// needs Picamera2 ({error})", "expected Raspberry Pi OS", _INSTALL) from None
    return picamera2


def _captured(metadata: dict[str, Any]) -> float:
    """The time the sensor began to send the picture, on the monotonic clock."""
    # libcamera counts nanoseconds since boot; the monotonic clock does too on a machine that never sleeps.
    now = time.monotonic()
    told = float(metadata.get("SensorTimestamp", 0)) * _NANO
    return told if 0 <= now - told < _MAX_AGE_S else now
