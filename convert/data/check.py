"""Labels held against their pictures: every picture is decoded once, every box is checked."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from convert.data.dataset import Dataset, Problem, Truth
from convert.data.entries import (
    BROKEN_IMAGE,
    DEGENERATE,
    NO_LABEL,
    NO_SIZE,
    OTHER_SIZE,
    OUTSIDE,
    ROTATED,
    UNKNOWN_CLASS,
    Box,
    Entries,
    Entry,
    Object,
    shown,
)
from convert.data.report import counts
from runtime.errors import InputError
from runtime.sources.images import read_image

# Labelling tools round; more than this outside the picture (in pixels, or as a fraction of it) is a mistake.
_PIXELS, _FRACTION = 1.0, 1e-3
# float32 fractions times a size.
_EPSILON = 1e-6

Size = tuple[int, int]


def check_entries(
    folder: Path,
    found: Entries,
    strict: bool,
    labels: tuple[str, ...] | None,
    progress: Callable[[int, int], None] | None,
) -> Dataset:
    """Decodes the pictures, checks the boxes, and leaves out the pictures that cannot be trusted.

    Raises:
        InputError: No picture can be used, or, when strict, there is a problem.
    """
    names = labels or found.names
    numbers = {name: number for number, name in reversed(list(enumerate(names)))}
    sizes = _decode([entry.image for entry in found.entries], progress)
    truths, problems, skipped = [], list(found.problems), 0
    for entry, size in zip(found.entries, sizes, strict=True):
        mine, truth = _check(entry, size, numbers)
        problems.extend(mine)
        if truth is None:
            skipped += 1
        else:
            truths.append(truth)
    problems.sort(key=lambda problem: (str(problem.file), problem.line))
    if strict and problems:
        _refuse(f"{folder} is refused", problems, "correct them, or leave out --strict")
    if not truths:
        _refuse(f"{folder} has {skipped} images and none can be used", problems, "correct them")
    place = folder.resolve()
    name = f"{place.parent.name}/{place.name}"
    used = {truth.path for truth in truths}
    unlabelled = sum(problem.kind == NO_LABEL and problem.file in used for problem in problems)
    return Dataset(name, tuple(truths), names, unlabelled, tuple(problems), skipped, found.crowds)


def _refuse(what: str, problems: list[Problem], action: str) -> None:
    first = next((problem for problem in problems if not problem.kept), problems[0])
    many = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    raise InputError(f"{what}: {many} ({counts(problems)}), first {first}", "", action)


def _decode(paths: list[Path], progress: Callable[[int, int], None] | None) -> list[Size | InputError]:
    """Width and height of each picture, or why it cannot be read."""
    sizes: list[Size | InputError] = []
    # OpenCV lets other threads run while it decodes.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, size in enumerate(pool.map(_size, paths), start=1):
            sizes.append(size)
            if progress:
                progress(done, len(paths))
    return sizes


def _size(path: Path) -> Size | InputError:
    try:
        frame = read_image(path)
    except InputError as error:
        return error
    return frame.width, frame.height


def _check(entry: Entry, size: Size | InputError, numbers: dict[str, int]) -> tuple[list[Problem], Truth | None]:
    """A picture's problems, and its truth unless one of them costs it."""
    problems = list(entry.problems)
    if isinstance(size, InputError):
        reason = size.seen.removeprefix(str(entry.image)).lstrip(": ")
        problems.append(Problem(entry.image, 0, BROKEN_IMAGE, shown(reason, 80)))
        return problems, None
    problems.extend(_check_size(entry, size))
    rows: list[Box] = []
    class_ids: list[int] = []
    difficult: list[bool] = []
    # Boxes that were drawn on a picture of another size say nothing about this one.
    trusted = all(problem.kept for problem in problems)
    for item in entry.objects:
        number = _class_number(item, numbers)
        if number is None:
            detail = f"'{shown(item.label)}' is not among the {len(numbers)} classes"
            problems.append(Problem(entry.source, item.line, UNKNOWN_CLASS, detail))
        box = _check_box(entry, item, size) if trusted else None
        if isinstance(box, Problem):
            problems.append(box)
        elif box is not None and number is not None:
            rows.append(box)
            class_ids.append(number)
            difficult.append(item.difficult)
    if not all(problem.kept for problem in problems):
        return problems, None
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    marks = np.array(difficult, np.bool_) if any(difficult) else None
    return problems, Truth(entry.image, boxes, np.array(class_ids, np.int32), marks)


def _class_number(item: Object, numbers: dict[str, int]) -> int | None:
    return numbers.get(item.label) if numbers else int(item.label)


def _check_size(entry: Entry, size: Size) -> list[Problem]:
    if entry.size is None:
        return []
    (width, height), (real_width, real_height) = entry.size, size
    if width == real_width and height == real_height:
        return []
    stated, real = f"{width:g}x{height:g}", f"{real_width}x{real_height}"
    if not width and not height:
        # Some tools write 0. The boxes are in pixels and are checked against the picture itself.
        detail = f"the label does not tell the size; the picture is {real}"
        return [Problem(entry.source, entry.size_line, NO_SIZE, detail, kept=True)]
    if width == real_height and height == real_width:
        detail = f"the label says {stated}, the upright picture is {real}"
        return [Problem(entry.source, entry.size_line, ROTATED, detail)]
    return [Problem(entry.source, entry.size_line, OTHER_SIZE, f"the label says {stated}, the picture is {real}")]


def _check_box(entry: Entry, item: Object, size: Size) -> Box | Problem:
    """The box as fractions, clipped, or what is wrong with it."""
    x1, y1, x2, y2 = item.box
    width, height = size
    text = f"{x1:g},{y1:g} to {x2:g},{y2:g}"
    if not (x2 > x1 and y2 > y1) or not all(map(math.isfinite, item.box)):
        return Problem(entry.source, item.line, DEGENERATE, f"{text} has no area")
    if not entry.fractions:
        x1, y1, x2, y2 = x1 / width, y1 / height, x2 / width, y2 / height
    over_x = max(_FRACTION, _PIXELS / width) + _EPSILON
    over_y = max(_FRACTION, _PIXELS / height) + _EPSILON
    inside = x1 >= -over_x and y1 >= -over_y and x2 <= 1 + over_x and y2 <= 1 + over_y
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
    # A box as thin as the rounding may lie outside altogether.
    if not inside or x2 <= x1 or y2 <= y1:
        return Problem(entry.source, item.line, OUTSIDE, f"{text} in a picture of {width}x{height}")
    return x1, y1, x2, y2
