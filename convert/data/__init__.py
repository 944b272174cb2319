"""Annotated picture folders, recognised by what lies in them."""

from __future__ import annotations

from pathlib import Path

from convert.data.dataset import Dataset, Truth
from convert.data.yolo_txt import is_yolo, read_yolo
from runtime.errors import InputError
from runtime.files import check_folder


def read_dataset(folder: Path) -> Dataset:
    """Reads an annotated folder.

    Raises:
        InputError: No such folder, an unknown layout, or a broken label.
    """
    check_folder(folder, "a folder of annotated images")
    if is_yolo(folder):
        return read_yolo(folder)
    raise InputError(
        f"{folder} has no annotations in a known layout",
        "expected YOLO labels (images/, labels/, classes.txt)",
        "check --data",
    )


__all__ = ["Dataset", "Truth", "read_dataset"]
