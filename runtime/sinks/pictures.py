"""Annotated pictures: one file, or a folder of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.draw import annotate
from runtime.errors import InputError, RunError
from runtime.files import check_writable, replacing
from runtime.frame import Frame
from runtime.sources.images import IMAGE_SUFFIXES


class PictureSink:
    """One annotated picture.

    Args:
        path: A file name ending like an image.
        labels: Class names by class index.

    Raises:
        InputError: The path cannot be written.
    """

    def __init__(self, path: Path, labels: tuple[str, ...]) -> None:
        self._path = check_writable(path)
        self._labels = labels
        self._written = ""

    def write(self, frame: Frame, found: Detections) -> None:
        """Writes the picture.

        Raises:
            InputError: A second picture arrives.
        """
        if self._written:
            raise InputError(
                f"{self._path} already holds {self._written} when {frame.source} frame {frame.index} arrives",
                "one picture file takes one picture",
                "give a folder or FILE.mp4",
            )
        self._written = frame.source
        _save(self._path, annotate(frame, found, self._labels))

    def close(self) -> None:
        """Nothing to finish."""


class FolderSink:
    """Annotated pictures in a folder, named after their sources.

    Args:
        folder: Made when missing.
        labels: Class names by class index.

    Raises:
        InputError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"folder {folder} cannot be made ({reason})", "", "choose another output") from None
        check_writable(folder / "picture")
        self._folder = folder
        self._labels = labels
        self._names: set[str] = set()

    def write(self, frame: Frame, found: Detections) -> None:
        """Writes one picture: an image keeps its name, a video's frames are numbered."""
        path = Path(frame.source)
        if path.suffix.lower() in IMAGE_SUFFIXES:
            name, suffix = path.stem, path.suffix
        else:
            name, suffix = f"{path.stem or 'frame'}-{frame.index:06d}", ".jpg"
        unique, count = name, 1
        while f"{unique}{suffix}" in self._names:
            count += 1
            unique = f"{name}-{count}"
        self._names.add(f"{unique}{suffix}")
        _save(self._folder / f"{unique}{suffix}", annotate(frame, found, self._labels))

    def close(self) -> None:
        """Nothing to finish."""


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    with replacing(path) as scratch:
        try:
            good, data = cv2.imencode(path.suffix, pixels)
        except cv2.error:
            good = False
        if not good:
            raise RunError(f"{path} could not be encoded", "", "choose .jpg or .png")
        scratch.write_bytes(data.tobytes())
