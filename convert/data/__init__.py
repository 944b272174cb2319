"""Annotated picture folders, recognised by what lies in them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from convert.data.check import check_entries
from convert.data.coco import is_coco, read_coco
from convert.data.dataset import Dataset, Problem, Truth
from convert.data.entries import Entries, Entry
from convert.data.plain import has_traces
from convert.data.report import report, summary, uncounted
from convert.data.voc import is_voc, read_voc
from convert.data.yolo_txt import is_yolo, read_yolo
from convert.progress import Progress
from runtime.errors import InputError
from runtime.files import check_folder
from runtime.sources.images import list_images

_FORMATS = (("COCO", is_coco, read_coco), ("Pascal VOC", is_voc, read_voc), ("YOLO", is_yolo, read_yolo))


def read_dataset(
    folder: Path,
    strict: bool = False,
    labels: tuple[str, ...] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Reads an annotated folder (COCO json, Pascal VOC xml or YOLO text) and decodes every picture once.

    A picture with a problem is left out as a whole, not just the object that is wrong: a picture whose label is
    missing teaches, and counts, the wrong thing. ``Dataset.problems`` tells what was left out and why. Boxes that
    overhang their picture by rounding (a pixel, or a thousandth of it) are clipped.

    Args:
        folder: The folder.
        strict: Refuse the folder when anything is wrong with it.
        labels: The class names to expect, in the order of the class numbers; an object of another class is a problem.
            By default the folder says, or, without a list of names, the names found, sorted.
        progress: Called with (done, total) as pictures are decoded.

    Raises:
        InputError: No such folder, an unknown or ambiguous layout, no picture that can be used, or, when strict, a
            problem.
    """
    check_folder(folder, "a folder of annotated images")
    found = [(name, read) for name, recognises, read in _FORMATS if recognises(folder)]
    if len(found) > 1:
        raise InputError(
            f"{folder} has labels of {' and '.join(name for name, _ in found)}",
            "expected one format",
            "move one of them to another folder",
        )
    if not found:
        raise InputError(
            f"{folder} has no annotations in a known layout",
            "expected COCO (annotations.json), Pascal VOC (.xml) or YOLO labels (images/, labels/, classes.txt)",
            "check --data",
        )
    return check_entries(folder, found[0][1](folder, labels), strict, labels, progress)


def open_data(folder: Path, strict: bool, labels: tuple[str, ...] | None = None) -> Dataset:
    """Reads a user's annotated pictures with a progress line, and tells on stderr what is wrong with them.

    Raises:
        InputError: As for :func:`read_dataset`.
    """
    dataset = read_dataset(folder, strict, labels, Progress(f"checking {folder.name}"))
    if text := report(dataset):
        print(text, file=sys.stderr)
    return dataset


def is_plain(folder: Path) -> bool:
    """Whether a folder has pictures and no annotation of any kind, known or unknown.

    Raises:
        InputError: No such folder.
    """
    check_folder(folder, "a folder of images")
    return not any(recognises(folder) for _, recognises, _ in _FORMATS) and not has_traces(folder)


def open_pictures(folder: Path, strict: bool) -> Dataset:
    """:func:`open_plain` for a folder without any annotation, otherwise :func:`open_data`.

    Raises:
        InputError: As for these.
    """
    return (open_plain if is_plain(folder) else open_data)(folder, strict)


def open_plain(folder: Path, strict: bool) -> Dataset:
    """Reads a folder of plain pictures, as :func:`open_data` reads annotated ones; no picture has a truth.

    Raises:
        InputError: No picture that can be used, or, when strict, one that is broken.
    """
    entries = Entries(tuple(Entry(path, path) for path in list_images(folder)), ())
    read = check_entries(folder, entries, strict, None, Progress(f"checking {folder.name}"))
    dataset = dataclasses.replace(read, annotated=False)
    if text := report(dataset):
        print(text, file=sys.stderr)
    return dataset


__all__ = [
    "Dataset",
    "Problem",
    "Truth",
    "is_plain",
    "open_data",
    "open_pictures",
    "open_plain",
    "read_dataset",
    "report",
    "summary",
    "uncounted",
]
