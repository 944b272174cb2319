"""What takes long to make and is kept: named by the contents of what makes it, complete or absent."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def cache_folder() -> Path:
    """``EDGEWREN_ARM_CACHE``, by default ``build/arm``."""
    folder = Path(os.environ.get("EDGEWREN_ARM_CACHE") or ROOT / "build" / "arm").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(name: str, folder: Path | None = None) -> Iterator[None]:
    """Alone among all processes while it lasts; the kernel unlocks for a process that is killed."""
    with ((folder or cache_folder()) / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept(name: str, made_by: Sequence[Path | str], make: Callable[[Path], None]) -> Path:
    """A file or folder from the cache, made first where it is absent.

    Args:
        name: What it is, for example ``trixie-arm64``.
        made_by: The files and values that decide its contents; another version of any of them makes it anew and
            removes the old one.
        make: Makes it at the path it is given, where nothing is. What was left half made is never used.
    """
    path = _place(name, made_by)
    with locked(name):
        if not path.exists():
            for old in cache_folder().glob(f"{name}@*"):
                _remove(old)
            partial = path.with_name(f"{name}@partial")
            if partial.exists():
                _remove(partial)
            make(partial)
            partial.rename(path)
    return path


def sources(*rooms: str) -> list[Path]:
    """All files of some of the project's folders, as what decides how something comes out."""
    files = [path for room in rooms for path in sorted((ROOT / room).rglob("*"))]
    return [path for path in files if path.is_file() and "__pycache__" not in path.parts]


def version(program: str) -> str:
    """What a program says of its version: another one may do otherwise."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout


def found(name: str, made_by: Sequence[Path | str]) -> Path | None:
    """What :func:`kept` has kept; ``None`` where it would be made."""
    path = _place(name, made_by)
    return path if path.exists() else None


def _place(name: str, made_by: Sequence[Path | str]) -> Path:
    digest = hashlib.sha256()
    for each in made_by:
        digest.update(each.read_bytes() if isinstance(each, Path) else each.encode())
        digest.update(b"\0")
    return cache_folder() / f"{name}@{digest.hexdigest()[:12]}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
