"""COCO's json labels (https://cocodataset.org/#format-data): one file for all pictures.

It is ``annotations.json``, ``_annotations.coco.json`` or ``instances*.json`` in the folder or in ``annotations/``; the
pictures lie where ``file_name`` says, below the folder, ``images/`` or the folder of the split
(``instances_val2017.json``: ``val2017/``). Boxes are ``x, y, width, height`` in pixels. Categories become class names
in the order of their ids. Annotations of whole crowds (``iscrowd``) are left out and counted. A picture without
annotations holds no object.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from convert.data.dataset import Problem
from convert.data.entries import (
    DUPLICATE,
    MALFORMED,
    NO_IMAGE,
    NO_LABEL,
    UNKNOWN_CLASS,
    Box,
    Entries,
    Entry,
    Object,
    shown,
)
from convert.data.json_lines import Item, read_lists
from runtime.errors import InputError
from runtime.sources.images import list_images

_PATTERNS = ("annotations.json", "_annotations.coco.json", "instances*.json")


def is_coco(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(_find(folder))


def _find(folder: Path) -> list[Path]:
    """Annotation files; of the places they may lie in, those of the first that has any."""
    for place, patterns in ((folder, _PATTERNS), (folder / "annotations", (*_PATTERNS, "*.json"))):
        for pattern in patterns:
            found = sorted(path for path in place.glob(pattern) if path.is_file())
            if found:
                return found
    return []


def read_coco(folder: Path, labels: tuple[str, ...] | None = None) -> Entries:
    """Reads a folder of pictures with COCO labels.

    Args:
        folder: The folder.
        labels: Class names to expect; not needed here, because the file has names.

    Raises:
        InputError: No pictures, several annotation files, or one that is not COCO's.
    """
    source, *others = _find(folder)
    if others:
        raise InputError(
            f"{folder} has {len(others) + 1} annotation files, {source.name} and {others[0].name} among them",
            "expected one",
            "make a folder for each split",
        )
    lists = read_lists(source)
    for key in ("images", "annotations", "categories"):
        if not lists.get(key):
            raise InputError(f"{source} has no list of {key}", "expected COCO annotations", "check the file")
    return _Reader(folder, source, lists).read()


class _Reader:
    """Puts the three lists of a file together.

    Args:
        folder: The data set.
        source: The annotation file.
        lists: Its lists.
    """

    def __init__(self, folder: Path, source: Path, lists: dict[str, list[Item]]) -> None:
        self._folder, self._source, self._lists = folder, source, lists
        self._pictures = set(list_images(folder))
        self._problems: list[Problem] = []
        self._crowds = 0

    def read(self) -> Entries:
        names = self._categories()
        images = self._images()
        objects: dict[int, list[Object]] = {number: [] for number in images}
        wrong: dict[int, list[Problem]] = {number: [] for number in images}
        for line, annotation in self._records("annotations"):
            number = _whole(annotation.get("image_id"))
            if number not in images:
                self._wrong(line, NO_IMAGE, f"annotation of image {shown(annotation.get('image_id'))}")
                continue
            read = self._object(line, annotation, names)
            if isinstance(read, Object):
                objects[number].append(read)
            elif read is not None:
                wrong[number].append(read)
        entries = {}
        for number, (line, path, size) in images.items():
            if path is not None:
                entries[path] = Entry(
                    path, self._source, tuple(objects[number]), False, size, line, tuple(wrong[number])
                )
        if not entries:
            first = f", first {self._problems[0]}" if self._problems else ""
            raise InputError(f"{self._source} names no picture that is there{first}", "", "check the folder")
        self._add_unlisted(entries)
        return Entries(
            tuple(entries[path] for path in sorted(entries)),
            tuple(dict.fromkeys(names[number] for number in sorted(names))),
            tuple(self._problems),
            self._crowds,
        )

    def _records(self, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, value in self._lists[key]:
            if isinstance(value, dict):
                yield line, value
            else:
                self._wrong(line, MALFORMED, f"{shown(value)} in {key}")

    def _wrong(self, line: int, kind: str, detail: str) -> None:
        self._problems.append(Problem(self._source, line, kind, detail))

    def _categories(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for line, category in self._records("categories"):
            number, name = _whole(category.get("id")), category.get("name")
            if number is None or not isinstance(name, str) or not name.strip():
                self._wrong(line, MALFORMED, f"category {shown(category)}")
            elif number in names:
                self._wrong(line, DUPLICATE, f"category {number}")
            else:
                names[number] = shown(name.strip(), 200)
        return names

    def _images(self) -> dict[int, tuple[int, Path | None, tuple[float, float]]]:
        """Line, picture (``None`` where it is missing) and stated size, by id."""
        images: dict[int, tuple[int, Path | None, tuple[float, float]]] = {}
        seen: set[Path] = set()
        for line, image in self._records("images"):
            number, name = _whole(image.get("id")), image.get("file_name")
            if number is None or not isinstance(name, str):
                self._wrong(line, MALFORMED, f"image {shown(image)}")
                continue
            path = self._locate(name)
            if number in images or path in seen:
                # Which of the two the annotations belong to cannot be told: neither is used.
                self._wrong(line, DUPLICATE, f"image {number}, {shown(name)}")
                self._drop(images, {number} | {other for other in images if path and images[other][1] == path})
                continue
            if path is None:
                self._wrong(line, NO_IMAGE, f"no picture {shown(name)}")
            else:
                seen.add(path)
            images[number] = (line, path, (_number(image.get("width")) or 0.0, _number(image.get("height")) or 0.0))
        return images

    def _drop(self, images: dict[int, tuple[int, Path | None, tuple[float, float]]], numbers: set[int]) -> None:
        for number in numbers & set(images):
            images[number] = (images[number][0], None, images[number][2])

    def _locate(self, name: str) -> Path | None:
        """The picture a ``file_name`` means; only pictures below the folder are ever looked at."""
        relative = PurePosixPath(name.replace("\\", "/"))
        split = self._source.stem.partition("_")[2]
        for place in (self._folder, self._folder / "images", self._folder / split, self._folder / "images" / split):
            for part in (relative, PurePosixPath(relative.name)):
                if (path := place / part) in self._pictures:
                    return path
        return None

    def _object(self, line: int, annotation: dict[str, Any], names: dict[int, str]) -> Object | Problem | None:
        if annotation.get("iscrowd") in (1, True):
            self._crowds += 1
            return None
        called = f"annotation {shown(annotation.get('id'))}"
        number = _whole(annotation.get("category_id"))
        if number not in names:
            detail = f"{called} has category {shown(annotation.get('category_id'))} of {len(names)}"
            return Problem(self._source, line, UNKNOWN_CLASS, detail)
        box = _box(annotation.get("bbox"))
        if box is None:
            return Problem(self._source, line, MALFORMED, f"{called} has bbox {shown(annotation.get('bbox'))}")
        return Object(line, names[number], box)

    def _add_unlisted(self, entries: dict[Path, Entry]) -> None:
        """Adds pictures that lie beside the others and are not in the file."""
        places = {path.parent for path in entries}
        for path in self._pictures - set(entries):
            if path.parent in places:
                problem = Problem(path, 0, NO_LABEL, f"not in {self._source.name}")
                entries[path] = Entry(path, path, problems=(problem,))


def _whole(value: object) -> int | None:
    # JSON's true is not the number 1.
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def _box(value: object) -> Box | None:
    """``x, y, width, height`` to corners; ``None`` where it is not four numbers."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    numbers = [number for number in map(_number, value) if number is not None]
    if len(numbers) != 4:
        return None
    x, y, width, height = numbers
    return x, y, x + width, y + height
