"""Class names for YOLO's text labels: a list of one per line, or the ``data.yaml`` of Ultralytics and Roboflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.files import read_names, read_text

_LISTS = ("classes.txt", "obj.names", "labels/classes.txt")
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
# The file describes a data set; what is read may be one split of it, ``train`` or ``images/train``.
_ABOVE = 2


def class_names(folder: Path) -> tuple[str, ...]:
    """The names that belong to the class numbers of a folder; empty where none are told.

    Raises:
        InputError: A list that cannot be read, or several that may be meant.
    """
    for name in _LISTS:
        if (folder / name).is_file():
            return read_names(folder / name)
    found = sorted(folder.glob("*.names"))
    if len(found) > 1:
        several = " and ".join(path.name for path in found[:2])
        raise InputError(
            f"{folder} has {several}", "expected one list of class names", "rename the right one classes.txt"
        )
    if found:
        return read_names(found[0])
    place = folder.resolve()
    for above in (place, *place.parents[:_ABOVE]):
        for name in _YAMLS:
            if (above / name).is_file() and (names := _names_in(above / name)):
                return names
    return ()


def _names_in(path: Path) -> tuple[str, ...]:
    """``names`` of a data set's description: a list, or a mapping from each class number to its name."""
    import yaml

    try:
        data = yaml.safe_load(read_text(path, "a data set's description"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise InputError(
            f"{path} is not YAML ({reason})", "expected the data set's class names", "correct it"
        ) from None
    names: Any = data.get("names") if isinstance(data, dict) else None
    if names is None:
        return ()
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, (str, int)) for name in names):
        raise InputError(f"{path} has other names than a list", "expected names: [wren, robin], or 0: wren, 1: robin")
    return tuple(str(name).strip() for name in names)
