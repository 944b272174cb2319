"""Getting pinned files: from a mirror folder, else from their public address.

No pinned file is used before its sha256 was checked. A broken download is continued where it stopped.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from convert.recipe import RemoteFolder, read_manifest
from convert.train.recipe import RemoteFile
from runtime.errors import InputError, RunError
from runtime.files import make_folder, replacing
from runtime.sources.images import list_images

_TIMEOUT_S = 30
_CHUNK = 1 << 16

Say = Callable[[str], None]


def fetch_file(file: RemoteFile, folder: Path, mirror: Path | None, say: Say) -> Path:
    """Brings one file into a folder.

    Args:
        file: What to bring.
        folder: Where it goes, under its own name; one that is already there and right is kept.
        mirror: Looked in first.
        say: Takes progress messages.

    Raises:
        InputError: Neither mirror nor network has it, or what they have is another file.
        RunError: It could not be written.
    """
    target = folder / Path(file.path).name
    if target.is_file() and _sha256(target) == file.sha256:
        return target
    make_folder(folder)
    found = _in_mirror(file.path, mirror)
    if found is None:
        say(f"downloading {file.url} ({file.bytes / 1e6:.1f} MB)")
        _download(file.url, file.sha256, target, mirror)
        return target
    if _sha256(found) != file.sha256:
        raise InputError(f"{found} has another sha256 than the recipe", f"expected {file.sha256}", "update the mirror")
    with replacing(target) as scratch:
        shutil.copyfile(found, scratch)
    return target


def fetch_calibration(manifest: Path, remote: RemoteFolder, folder: Path, mirror: Path | None, say: Say) -> Path:
    """Finds or brings a recipe's calibration pictures.

    Args:
        manifest: Which pictures, with their hashes.
        remote: Where they are.
        folder: Where they go.
        mirror: Looked in first.
        say: Takes progress messages.

    Returns:
        The folder that holds them: the mirror's own, or ``folder``.

    Raises:
        InputError: Neither mirror nor network has them, or the mirror's folder holds others.
        RunError: They could not be written.
    """
    pins = read_manifest(manifest)
    found = find_folder(remote.path, mirror)
    if found is not None:
        _check_pictures(found, pins)
        return found
    missing = {name: pin for name, pin in pins.items() if not _is_right(folder / name, pin)}
    if missing:
        say(f"downloading {len(missing)} calibration images from {remote.url}")
        make_folder(folder)
    for name, pin in missing.items():
        _download(f"{remote.url}/{name}", pin, folder / name, mirror)
    return folder


def _check_pictures(folder: Path, pins: dict[str, str]) -> None:
    """Whether a folder holds the pinned pictures and no others: all that are there would be calibrated on.

    Raises:
        InputError: It does not.
    """
    others = {path.relative_to(folder).as_posix() for path in list_images(folder)} - pins.keys()
    wrong = sorted(others) or [name for name, pin in pins.items() if not _is_right(folder / name, pin)]
    if wrong:
        state = "missing or changed" if wrong[0] in pins else "not in the recipe's list"
        raise InputError(
            f"{folder}: {wrong[0]} is {state}" + (f", and {len(wrong) - 1} more" if wrong[1:] else ""),
            f"expected the {len(pins)} images the recipe lists, unchanged",
            "update the mirror, or give your own pictures with --calibration DIR",
        )


def find_folder(path: str, mirror: Path | None, beside: Path | None = None) -> Path | None:
    """A data folder: in the mirror, or where its path leads from the folder ``beside``."""
    candidates = [_in_mirror(path, mirror), beside / path if beside and path else None]
    return next((found for found in candidates if found is not None and found.is_dir()), None)


def _in_mirror(path: str, mirror: Path | None) -> Path | None:
    """Looks in the mirror, its ``zoo/`` and ``data/``, and ``data/`` beside it."""
    if mirror is None:
        return None
    if not mirror.is_dir():
        raise InputError(
            f"mirror {mirror}: no such folder", "expected a folder with downloads", "check --mirror (make: MIRROR=)"
        )
    roots = (mirror, mirror / "zoo", mirror / "data", mirror.resolve().parent / "data")
    return next((root / path for root in roots if (root / path).exists()), None)


def _download(url: str, sha256: str, target: Path, mirror: Path | None) -> None:
    partial = target.with_name(f"{target.name}.download")
    try:
        for chunk in _receive(url, partial.stat().st_size if partial.exists() else 0, partial):
            with partial.open("ab") as stream:
                stream.write(chunk)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        reason = getattr(error, "reason", None) or error
        where = f"not in {mirror}" if mirror else "no mirror was given"
        raise InputError(
            f"{target.name}: {where}, and {url} cannot be reached ({reason})",
            "expected a mirror or the network",
            "go online and try again (what arrived is kept), or give --mirror DIR (make: MIRROR=DIR)",
        ) from None
    except OSError as error:
        raise RunError(f"{partial} cannot be written ({error.strerror})", "", "free disk space and retry") from None
    if _sha256(partial) != sha256:
        partial.unlink()
        raise InputError(
            f"{url} has another sha256 than the recipe", f"expected {sha256}", "try again, or use a mirror"
        )
    partial.replace(target)


def _receive(url: str, start: int, partial: Path) -> Iterator[bytes]:
    request = urllib.request.Request(url, headers={"User-Agent": "edgewren"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        # 416: nothing lies beyond what we have, so it is complete and only needs checking.
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return
        raise
    with response:
        if start and response.status != http.client.PARTIAL_CONTENT:
            partial.unlink()
        left = response.length
        while chunk := response.read(_CHUNK):
            left = None if left is None else left - len(chunk)
            yield chunk
        # A connection that closes early looks like the end of the file to read().
        if left:
            raise ConnectionError(f"the connection closed {left} bytes early")


def _is_right(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
