"""The number of threads a model is fastest with on this board: found once by ``bench --tune``, used from then on.

What was found is kept in ``edgewren/threads.json`` below the user's cache folder (``XDG_CACHE_HOME``, or ``~/.cache``),
by the model's content and by the board, so that a changed file or another board never gets another's figure.

Every program that opens a model looks here; what only one with tuned models needs is imported where it is used.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from runtime.cores import available_cores
from runtime.files import make_folder, replacing

# More threads must pay by so much: a core that is not used stays for the camera and the page.
_WORTH = 0.05
_VERSION = 1
_DAMAGED = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
MOST_THREADS = 1024


def cache_file() -> Path:
    """Where it is kept."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "edgewren" / "threads.json"


def tuned_threads(model: Path, delegate: str | None = None) -> int | None:
    """The threads found for a model on this board; ``None`` where nothing is known.

    Costs nothing where nothing was ever tuned, and reads the model only if one of its size was.

    Args:
        model: A readable file.
        delegate: The external delegate that it runs with: another number may be best without it.
    """
    try:
        path = cache_file()
        text = path.read_text(encoding="utf-8")
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None
    try:
        name = _board(delegate)
        rows = [(row["sha256"], row["bytes"], _threads(row)) for row in _rows(text) if row["board"] == name]
    except _DAMAGED:
        print(f"note: {path} is damaged and ignored; bench --tune writes it anew", file=sys.stderr)
        return None
    try:
        size = model.stat().st_size
        known = {digest: threads for digest, of_size, threads in rows if of_size == size}
        return known.get(_digest(model)) if known else None
    except OSError:
        return None  # whoever opens it says so


def remember(model: Path, threads: int, ms: dict[int, float], delegate: str | None = None) -> Path:
    """Keeps what was found.

    Args:
        model: A readable file.
        threads: The number to use.
        ms: Milliseconds by number of threads, for whoever looks.
        delegate: The external delegate it was found with.

    Returns:
        The file it is kept in.
    """
    path, name, digest = cache_file(), _board(delegate), _digest(model)
    make_folder(path.parent)
    try:
        rows = _rows(path.read_text(encoding="utf-8"))
        others = [row for row in rows if (row["board"], row["sha256"]) != (name, digest)]
    except (OSError, *_DAMAGED):
        others = []
    found = {str(count): round(value, 4) for count, value in ms.items()}
    what = {"model": model.name, "bytes": model.stat().st_size, "sha256": digest}
    row = {"board": name, **what, "threads": threads, "ms": found}
    with replacing(path) as unfinished:
        text = json.dumps({"version": _VERSION, "models": [*others, row]}, indent=1)
        unfinished.write_text(text + "\n", encoding="utf-8")
    return path


def choose(ms: dict[int, float]) -> int:
    """The number of threads to use: the fewest that are not clearly slower than the best.

    Args:
        ms: Median milliseconds by number of threads.
    """
    best = min(ms.values())
    return min(threads for threads, value in ms.items() if value <= best * (1 + _WORTH))


def _threads(row: dict[str, Any]) -> int:
    threads = max(1, int(row["threads"]))
    if threads > MOST_THREADS:
        raise ValueError(f"{threads} threads")
    return threads


def _rows(text: str) -> list[dict[str, Any]]:
    document = json.loads(text)
    if document["version"] != _VERSION:
        return []
    rows: list[dict[str, Any]] = document["models"]
    return rows


def _board(delegate: str | None) -> str:
    from runtime import board

    name = f"{board.cpu_name()}, {available_cores()} cores"
    return f"{name}, {delegate}" if delegate else name


def _digest(model: Path) -> str:
    import hashlib

    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
