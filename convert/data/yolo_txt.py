"""YOLO's text labels: ``labels/NAME.txt`` for ``images/NAME.jpg``, or both in one folder.

A split such as ``images/train`` has its labels in ``labels/train``.

Each line is ``class x y width height``, centre and size as fractions of the picture. An empty file means a picture
without objects. So does a missing one, by the format's convention, but that is reported, because it may as well have
been lost. ``yolo_names`` says where class names come from.
"""

from __future__ import annotations

import math
from pathlib import Path

from convert.data.dataset import Problem
from convert.data.entries import DEGENERATE, MALFORMED, NO_LABEL, UNKNOWN_CLASS, Entries, Entry, Object, shown
from convert.data.yolo_names import class_names
from runtime.errors import InputError
from runtime.files import read_text
from runtime.sources.images import IMAGE_SUFFIXES, list_images


def is_yolo(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    labels = _labels_folder(folder)
    if labels:
        return not any(path.suffix.lower() in (".xml", ".json") for path in labels.iterdir())
    pictures = {path.stem for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
    return any(path.stem in pictures for path in folder.glob("*.txt"))


def read_yolo(folder: Path, labels: tuple[str, ...] | None = None) -> Entries:
    """Reads a folder of pictures with YOLO labels.

    Args:
        folder: The folder.
        labels: Class names where the folder has none.

    Raises:
        InputError: No pictures, no labels, or names that cannot be read.
    """
    images = folder / "images" if (folder / "images").is_dir() else folder
    apart = _labels_folder(folder)
    names = class_names(folder) or labels or ()
    entries, unlabelled = [], 0
    for path in list_images(images):
        label = (apart / path.relative_to(images) if apart else path).with_suffix(".txt")
        if label.is_file():
            entries.append(_read_label(path, label, names))
        else:
            unlabelled += 1
            problem = Problem(path, 0, NO_LABEL, f"no {label.name}; counted as without objects", kept=True)
            entries.append(Entry(path, label, problems=(problem,)))
    if unlabelled == len(entries):
        raise InputError(f"{folder} has {len(entries)} images and no label for any", "expected labels/NAME.txt")
    return Entries(tuple(entries), names)


def _labels_folder(folder: Path) -> Path | None:
    """Where the labels are; ``None`` where they lie beside the pictures."""
    if (folder / "labels").is_dir():
        return folder / "labels"
    parts = list(folder.resolve().parts)
    if "images" not in parts:
        return None
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts) if Path(*parts).is_dir() else None


def _read_label(image: Path, path: Path, names: tuple[str, ...]) -> Entry:
    try:
        text = read_text(path, "YOLO labels") if path.stat().st_size else ""
    except InputError as error:
        problem = Problem(path, 0, MALFORMED, shown(error.seen.removeprefix(str(path)).lstrip(": ")))
        return Entry(image, path, problems=(problem,))
    objects, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parsed = _parse(line, path, number, names)
        if isinstance(parsed, Problem):
            problems.append(parsed)
        else:
            objects.append(parsed)
    return Entry(image, path, tuple(objects), fractions=True, problems=tuple(problems))


def _parse(line: str, path: Path, number: int, names: tuple[str, ...]) -> Object | Problem:
    parts = line.split()
    text = f"'{shown(line)}'"
    try:
        class_id = int(parts[0])
        x, y, width, height = (float(part) for part in parts[1:])
    except ValueError:
        return Problem(path, number, MALFORMED, f"{text}, expected class x y width height")
    if class_id < 0 or class_id > 1 << 30 or (names and class_id >= len(names)):
        expected = f"the data set names {len(names)} classes" if names else "expected a class from 0"
        return Problem(path, number, UNKNOWN_CLASS, f"{text}; {expected}")
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        return Problem(path, number, DEGENERATE, f"{text} has no area")
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Object(number, names[class_id] if names else str(class_id), box)
