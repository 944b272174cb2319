"""Tells folders of plain pictures from annotated ones whose layout is not understood.

Whoever lost half of an annotated folder must be told so, and not get figures that need no labels. So anything that
looks like a label or a list of classes, in whatever format, makes a folder an annotated one.
"""

from __future__ import annotations

from pathlib import Path

from runtime.sources.images import IMAGE_SUFFIXES

_LABEL_SUFFIXES = frozenset(
    {
        ".xml",
        ".json",
        ".jsonl",
        ".ndjson",
        ".csv",
        ".tsv",
        ".names",
        ".yaml",
        ".yml",
        ".tfrecord",
        ".record",
        ".parquet",
    }
)
_LABEL_FOLDERS = frozenset({"labels", "annotations"})
_CLASS_LISTS = frozenset({"classes.txt", "labels.txt"})


def has_traces(folder: Path) -> bool:
    """Whether anything below a folder looks like annotations, or there are no pictures; hidden files do not count.

    A text file does when it has the name of a picture or of a list of classes; a licence or a readme does not.
    """
    pictures: set[str] = set()
    texts: set[str] = set()
    for path in folder.rglob("*"):
        name = path.name.lower()
        if name.startswith("."):
            continue
        if path.is_dir():
            if name in _LABEL_FOLDERS:
                return True
        elif path.suffix.lower() in _LABEL_SUFFIXES or name in _CLASS_LISTS:
            return True
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            pictures.add(path.stem)
        elif path.suffix.lower() == ".txt":
            texts.add(path.stem)
    return not pictures or bool(pictures & texts)
