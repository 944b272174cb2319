"""Pictures that each show one class: one folder per class, or files named ``NNNN_..`` by class number.

| layout | class of a picture |
| --- | --- |
| ``finch/a.jpg``, ``wren/b.jpg`` | the folder's name among the model's labels; digits that are no label are numbers |
| ``0017_n01580077_jay.jpg`` | the number in front, counted without the background |
| the same with ``labels.txt`` beside | the name on that line of it, counted from 0, among the model's labels |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.data.names import match_names
from runtime.card import Labels
from runtime.errors import InputError
from runtime.files import check_folder, read_names
from runtime.sources.images import list_images

_NUMBERED = re.compile(r"(\d{1,6})_")
_NAMES_FILES = ("labels.txt", "classes.txt", "names.txt")


@dataclass(frozen=True)
class ClassPictures:
    """Pictures with one class each.

    Attributes:
        name: The folder's name, with its parent's.
        paths: The pictures, by name.
        class_ids: ``(n,)`` int32, index into ``names``, or the class number itself where there are no names.
        names: Class names; empty when the folder only numbers its classes.
    """

    name: str
    paths: tuple[Path, ...]
    class_ids: npt.NDArray[np.int32]
    names: tuple[str, ...]

    def truth(self, labels: Labels) -> npt.NDArray[np.int32]:
        """A model's class index of each picture, -1 where the model has no such class.

        Args:
            labels: The model's classes; numbers count from the first after the background.

        Raises:
            InputError: No class in common, or a number beyond the model's classes.
        """
        first = int(labels.background)
        if not self.names:
            return self._numbers(self.class_ids, labels)
        mapped = match_names(self.names, labels.names[first:])
        mapped[mapped >= 0] += first
        if (mapped < 0).all() and all(name.isdecimal() and len(name) < 7 for name in self.names):
            return self._numbers(np.array([int(name) for name in self.names], np.int32)[self.class_ids], labels)
        if (mapped[self.class_ids] < 0).all():
            raise InputError(
                f"{self.name} has classes {', '.join(self.names[:5])}",
                f"the model knows {', '.join(labels.names[first : first + 5])}",
                "evaluate on data with the model's classes, or name them with --labels",
            )
        return mapped[self.class_ids]

    def _numbers(self, numbers: npt.NDArray[np.int32], labels: Labels) -> npt.NDArray[np.int32]:
        count = len(labels.names) - labels.background
        if numbers.max() >= count:
            raise InputError(
                f"{self.name} has a picture of class {numbers.max()}",
                f"the model has {count} classes, numbered from 0",
                "evaluate on data with the model's classes",
            )
        return np.asarray(numbers + np.int32(labels.background), np.int32)


def read_classes(folder: Path) -> ClassPictures:
    """Reads the names of a folder of classified pictures; the pictures themselves are not opened.

    Raises:
        InputError: No such folder, no pictures, or another layout than the two.
    """
    check_folder(folder, "a folder of classified pictures")
    paths = tuple(list_images(folder))
    place = folder.resolve()
    name = f"{place.parent.name}/{place.name}"
    inside = [path.relative_to(folder).parts for path in paths]
    if all(len(parts) > 1 for parts in inside):
        names = sorted({parts[0] for parts in inside})
        numbers = {label: number for number, label in enumerate(names)}
        return ClassPictures(name, paths, np.array([numbers[parts[0]] for parts in inside], np.int32), tuple(names))
    found = [_NUMBERED.match(parts[0]) if len(parts) == 1 else None for parts in inside]
    for match, path in zip(found, paths, strict=True):
        if match is None:
            raise InputError(
                f"{folder} holds {path.relative_to(folder)}",
                "expected one folder per class, or pictures named NNNN_.. by class number",
                "check --data, or leave it out",
            )
    class_ids = np.array([int(match[1]) for match in found if match], np.int32)
    return ClassPictures(name, paths, class_ids, _names(folder, int(class_ids.max())))


def _names(folder: Path, last: int) -> tuple[str, ...]:
    for name in _NAMES_FILES:
        if (folder / name).is_file():
            names = read_names(folder / name)
            if last >= len(names):
                raise InputError(
                    f"{folder} has a picture of class {last}", f"{name} has {len(names)} names, numbered from 0"
                )
            return names
    return ()
