"""Annotated pictures: one file, or a folder of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.draw import annotate
from runtime.errors import RunError
from runtime.files import check_writable, make_folder, replacing
from runtime.frame import Frame
from runtime.sources.images import IMAGE_SUFFIXES

# A contact sheet: pictures at most, per row, width of one, space between, in pixels.
_SHEET, _COLUMNS, _CELL, _GAP = 12, 4, 400, 8


class PictureSink:
    """One picture: of a single frame the annotated frame itself, of many a contact sheet of up to twelve.

    The frames on the sheet are spread evenly over the input. How long that is nobody knows beforehand, so frames are
    kept at a step that doubles whenever there are too many.

    Args:
        path: A file name ending like an image.
        labels: Class names by class index.

    Raises:
        InputError: The path cannot be written.
    """

    def __init__(self, path: Path, labels: tuple[str, ...]) -> None:
        self._path = check_writable(path)
        self.labels = labels
        self._kept: list[npt.NDArray[np.uint8]] = []
        self._step = 1
        self._count = 0

    def write(self, frame: Frame, found: Detections) -> None:
        """Keeps the frame, if it is one of those."""
        if self._count % self._step == 0:
            if len(self._kept) == 2 * _SHEET:
                self._kept = self._kept[::2]
                self._step *= 2
            if self._count % self._step == 0:
                self._kept.append(annotate(frame, found, self.labels))
        self._count += 1

    def close(self) -> None:
        """Writes the picture.

        Raises:
            RunError: It cannot be written.
        """
        if self._kept:
            count = min(_SHEET, len(self._kept))
            chosen = [self._kept[i * len(self._kept) // count] for i in range(count)]
            _save(self._path, contact_sheet(chosen) if len(chosen) > 1 else chosen[0])
            self._kept = []


def contact_sheet(pictures: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Pictures side by side on white, each scaled to fit a cell of the first one's shape.

    Args:
        pictures: ``(h, w, 3)`` uint8, at least one; sizes may differ.

    Returns:
        One picture, ``(h, w, 3)`` uint8.
    """
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    height = max(1, round(_CELL * pictures[0].shape[0] / pictures[0].shape[1]))
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (_CELL + _GAP) + _GAP, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        scale = min(_CELL / picture.shape[1], height / picture.shape[0])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        top = _GAP + index // columns * (height + _GAP) + (height - size[1]) // 2
        left = _GAP + index % columns * (_CELL + _GAP) + (_CELL - size[0]) // 2
        sheet[top : top + size[1], left : left + size[0]] = small
    return sheet


class FolderSink:
    """Annotated pictures in a folder, named after their sources.

    Args:
        folder: Made when missing.
        labels: Class names by class index.
        originals: Pictures that are read: none of them is replaced.

    Raises:
        InputError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path, labels: tuple[str, ...], originals: Sequence[Path] = ()) -> None:
        make_folder(folder)
        check_writable(folder / "picture")
        self._folder = folder
        self.labels = labels
        place = folder.resolve()
        self._names = {path.name for path in map(Path.resolve, originals) if path.parent == place}

    def write(self, frame: Frame, found: Detections) -> None:
        """Writes one picture: an image keeps its name, unless that is taken; a video's frames are numbered."""
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
        _save(self._folder / f"{unique}{suffix}", annotate(frame, found, self.labels))

    def close(self) -> None:
        """Nothing to finish."""


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    if path.suffix.lower() == ".pgm":
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)  # It knows no colours.
    with replacing(path) as scratch:
        try:
            good, data = cv2.imencode(path.suffix, pixels)
        except cv2.error:
            good = False
        if not good:
            raise RunError(f"{path} could not be encoded", "", "choose .jpg or .png")
        scratch.write_bytes(data.tobytes())
