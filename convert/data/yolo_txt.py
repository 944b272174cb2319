"""YOLO's text labels: ``labels/NAME.txt`` for ``images/NAME.jpg``, or both in one folder.

Each line is ``class x y width height``, centre and size as fractions of the picture. A missing or empty file means a
picture without objects. Class names stand in ``classes.txt``, ``obj.names`` or another single ``.names`` file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.data.dataset import Dataset, Truth
from runtime.errors import InputError
from runtime.files import read_names, read_text
from runtime.sources.images import IMAGE_SUFFIXES, list_images

# Labelling tools round; more than this outside the picture is a mistake.
_TOLERANCE = 1e-3


def is_yolo(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    if (folder / "labels").is_dir():
        return True
    pictures = {path.stem for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
    return any(path.stem in pictures for path in folder.glob("*.txt"))


def read_yolo(folder: Path) -> Dataset:
    """Reads a folder of pictures with YOLO labels.

    Raises:
        InputError: No pictures, no labels, or a line that is not a label; the message names file and line.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    names = _names(folder)
    truths, unlabelled = [], 0
    for path in list_images(images):
        label = _label_path(folder, images, path)
        if label.exists():
            boxes, class_ids = _read_label(label, len(names))
        else:
            unlabelled += 1
            boxes, class_ids = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
        truths.append(Truth(path, boxes, class_ids))
    if unlabelled == len(truths):
        raise InputError(f"{folder} has {len(truths)} images and no label for any", "expected labels/NAME.txt")
    resolved = folder.resolve()
    return Dataset(f"{resolved.parent.name}/{resolved.name}", tuple(truths), names, unlabelled)


def _label_path(folder: Path, images: Path, image: Path) -> Path:
    if (folder / "labels").is_dir():
        return folder / "labels" / image.relative_to(images).with_suffix(".txt")
    return image.with_suffix(".txt")


def _names(folder: Path) -> tuple[str, ...]:
    for name in ("classes.txt", "obj.names", "labels/classes.txt"):
        if (folder / name).is_file():
            return read_names(folder / name)
    found = sorted(folder.glob("*.names"))
    return read_names(found[0]) if len(found) == 1 else ()


def _read_label(path: Path, classes: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    rows: list[tuple[float, float, float, float]] = []
    class_ids: list[int] = []
    text = read_text(path, "YOLO labels") if path.stat().st_size else ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        class_id, box = _parse(line, f"{path} line {number}")
        if classes and class_id >= classes:
            raise InputError(f"{path} line {number} has class {class_id}", f"the data set names {classes} classes")
        class_ids.append(class_id)
        rows.append(box)
    return np.array(rows, np.float32).reshape(-1, 4), np.array(class_ids, np.int32)


def _parse(line: str, where: str) -> tuple[int, tuple[float, float, float, float]]:
    parts = line.split()
    try:
        class_id = int(parts[0])
        x, y, width, height = (float(part) for part in parts[1:])
    except ValueError:
        raise InputError(f"{where} is '{line.strip()[:60]}'", "expected: class x y width height") from None
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    inside = all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in box)
    if class_id < 0 or not inside or width <= 0 or height <= 0:
        raise InputError(
            f"{where} is '{line.strip()[:60]}'", "expected a class from 0 and a box inside the image (0..1)"
        )
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in box)
    return class_id, (x1, y1, x2, y2)
