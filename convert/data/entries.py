"""What a label file says, before it is checked against the picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from convert.data.dataset import Problem

Box = tuple[float, float, float, float]

# Kinds of problems, as they are printed and counted.
BROKEN_IMAGE = "broken image"
NO_IMAGE = "no image"
NO_LABEL = "no label"
NO_OBJECTS = "no objects"
MALFORMED = "malformed"
OUTSIDE = "box outside"
DEGENERATE = "degenerate box"
UNKNOWN_CLASS = "unknown class"
OTHER_SIZE = "other size"
ROTATED = "rotated by EXIF"
NO_SIZE = "no size"
DUPLICATE = "duplicate label"


@dataclass(frozen=True)
class Object:
    """One object as a label file has it.

    Attributes:
        line: Its line in the label file.
        label: Class name; the class number in digits where the folder has no names.
        box: ``x1, y1, x2, y2``; any numbers.
        difficult: Pascal VOC's mark of an object that is hard to recognise.
    """

    line: int
    label: str
    box: Box
    difficult: bool = False


@dataclass(frozen=True)
class Entry:
    """One picture and what its label file says.

    Attributes:
        image: The picture.
        source: The label file.
        objects: Its objects.
        fractions: Whether boxes are fractions of the picture instead of pixels.
        size: Width and height the label file states; ``None`` where the format has none, zeros where it is not told.
        size_line: Line that states the size.
        problems: What was already found wrong with the label; unless ``kept``, the picture is left out.
    """

    image: Path
    source: Path
    objects: tuple[Object, ...] = ()
    fractions: bool = False
    size: tuple[float, float] | None = None
    size_line: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Entries:
    """What a reader found in a folder.

    Attributes:
        entries: One per picture.
        names: Class names; empty when labels are numbers without names.
        problems: Those that belong to no picture.
        crowds: Group annotations that were left out.
    """

    entries: tuple[Entry, ...]
    names: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    crowds: int = 0


def shown(value: object, limit: int = 60) -> str:
    """A piece of a file for a message: one line, printable, not long."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except RecursionError:
        text = type(value).__name__
    text = re.sub(r"\s+", " ", text[: 4 * limit]).strip()
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."
