"""Still pictures: one file, or a folder of them."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import InputError
from runtime.files import check_file, check_folder
from runtime.frame import Frame

_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK, _CHUNK_HEAD = 12, struct.Struct(">I4s")  # bytes without content; the first eight of them

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jp2", ".avif"}
)


def read_image(path: Path, index: int = 0) -> Frame:
    """Reads a picture file, turned upright as its EXIF data says, as 8-bit colour.

    Raises:
        InputError: Missing, empty, or not a complete picture of a format OpenCV reads.
    """
    check_file(path, "an image")
    try:
        data = np.fromfile(path, np.uint8)
        # libpng would say on stderr what is missing.
        pixels = None if _is_cut_png(data.data) else cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError, OSError):
        pixels = None
    if pixels is None:
        raise InputError(
            f"{path} is not a complete image OpenCV can read",
            "expected a JPEG, PNG, BMP, WebP or TIFF file",
            "open it in a viewer, or leave it out",
        )
    return Frame(np.asarray(pixels, np.uint8), "bgr", str(path), index, time.monotonic())


def _is_cut_png(data: memoryview) -> bool:
    """Whether it begins as a PNG and does not come to its last chunk: length, four letters, content, check sum."""
    if data[:8] != _PNG:
        return False
    place = len(_PNG)
    while place + _CHUNK <= len(data):
        length, kind = _CHUNK_HEAD.unpack_from(data, place)
        place += _CHUNK + int(length)
        if kind == b"IEND":
            break
    else:
        return True
    return place > len(data)


def list_images(folder: Path) -> list[Path]:
    """All picture files below a folder, by name; hidden ones do not count.

    Raises:
        InputError: No such folder, or no pictures in it.
    """
    check_folder(folder, "a folder of images")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not paths:
        raise InputError(
            f"{folder} holds no images",
            "expected files ending in .jpg, .png, .bmp, .webp or .tif",
            "check the folder",
        )
    return paths


class ImageSource:
    """Pictures in name order, each its own source.

    Args:
        paths: The files.
    """

    live = False
    fps: float | None = None

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._next = 0

    def read(self) -> Frame | None:
        """The next picture; ``None`` after the last.

        Raises:
            InputError: A file that is not an image.
        """
        if self._next >= len(self.paths):
            return None
        frame = read_image(self.paths[self._next], 0)
        self._next += 1
        return frame

    def rewind(self) -> bool:
        """Starts again from the first picture."""
        self._next = 0
        return True

    def close(self) -> None:
        """Nothing to free."""
