"""The record of a training, kept beside its weights: what was done, with what, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.files import read_text, replacing


def record_file(weights: Path) -> Path:
    """Where the record of a weights file lies."""
    return weights.with_name(f"{weights.stem}.training.json")


def write_record(weights: Path, record: dict[str, Any]) -> None:
    """Writes the record of a weights file.

    Raises:
        RunError: It cannot be written.
    """
    with replacing(record_file(weights)) as scratch:
        scratch.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_provenance(weights: Path) -> tuple[str, ...]:
    """What the weights were trained from; empty without a record.

    Raises:
        InputError: The record is damaged.
    """
    path = record_file(weights)
    if not path.is_file():
        return ()
    try:
        lines = json.loads(read_text(path, "a training record"))["provenance"]
        return tuple(str(line) for line in lines)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a training record ({error})", "", "delete it, or train again") from None
