"""A folder of recordings, clips and snapshots that keeps to a quota and to itself."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.errors import InputError
from runtime.files import check_writable, make_folder
from runtime.sinks.encoder import plays

Kind = Literal["recording", "clip", "snapshot"]

_KINDS: dict[str, Kind] = {"recording": "recording", "clip": "clip", "snapshot": "snapshot"}
_NAME = re.compile(r"(recording|clip|snapshot)-(\d{8}T\d{6}Z)-(\d{1,12})(?:-(\d{1,12}))?\.(mp4|jpg)")
_STAMP = "%Y%m%dT%H%M%SZ"
_GROWING = ".growing-"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Media:
    """One complete file.

    Attributes:
        name: By which it is asked for, such as ``clip-20260102T030405Z-17-19.mp4``; no path.
        kind: What it is. A clip's thumbnail is a ``snapshot`` named like the clip, with the first event's number.
        bytes: Its size.
        when: Seconds since 1970 of its first frame.
        event: Number of the first event a clip shows, and of its thumbnail; ``None`` for all others.
        last_event: Of the last one; the same number where there was one.
    """

    name: str
    kind: Kind
    bytes: int
    when: float
    event: int | None = None
    last_event: int | None = None


class MediaStore:
    """The folder. Safe from any thread.

    What it lists is what it made, now or in an earlier run: a name is looked up among those and never becomes a path.
    Files grow under hidden names; what a killed program left behind is listed by the next one if it plays.

    Args:
        folder: Made when missing. One program uses it at a time.
        quota_bytes: The oldest files go when all together, those that grow included, are larger.
        keep_free: Bytes of the disk that stay free; nothing is begun below that.

    Raises:
        InputError: The folder cannot be made or written, or another program uses it.
    """

    def __init__(self, folder: Path, quota_bytes: int, keep_free: int = 100 << 20) -> None:
        self.folder = make_folder(folder)
        self.quota = quota_bytes
        self._keep_free = keep_free
        self._mutex = threading.RLock()
        _check(folder)
        self._lock = _lock(folder)
        self._growing: dict[Path, tuple[str, int]] = {}
        self._listed: dict[str, Media] = {}
        self._sorted: tuple[Media, ...] = ()
        self._adopt()
        for path in folder.iterdir():
            if media := _read(path):
                self._listed[media.name] = media
        self._changed()

    def entries(self) -> tuple[Media, ...]:
        """All complete files, newest first."""
        return self._sorted

    def find(self, name: str) -> Path | None:
        """The file of a listed name; ``None`` for every other text."""
        if name not in self._listed:
            return None
        path = self.folder / name
        return path if path.is_file() and not path.is_symlink() else None

    def used(self) -> int:
        """Bytes of all files, those that grow included."""
        with self._mutex:
            return sum(media.bytes for media in self._listed.values()) + sum(map(_size, self._growing))

    def begin(self, kind: Kind, when: float, suffix: str, event: int | None = None) -> Path:
        """A hidden path for a file to be written; :meth:`commit` or :meth:`discard` ends it.

        Args:
            kind: What it will be.
            when: Seconds since 1970 of its first frame.
            suffix: ``.mp4`` or ``.jpg``.
            event: For a clip and its thumbnail.

        Raises:
            OSError: There is too little room on the disk, or nothing can be removed to keep the quota.
        """
        with self._mutex:
            self.make_room()
            stamp = time.strftime(_STAMP, time.gmtime(when))
            number = event if event is not None else 1
            while event is None and self._is_taken(f"{kind}-{stamp}-{number}{suffix}"):
                number += 1
            stem = f"{kind}-{stamp}-{number}"
            scratch = self._scratch(f"{stem}{suffix}")
            self._growing[scratch] = (stem, number)
            return scratch

    def commit(self, scratch: Path, last_event: int | None = None) -> Media:
        """Puts a complete file in place and lists it.

        Args:
            scratch: From :meth:`begin`.
            last_event: Number of the last event a clip shows.

        Raises:
            OSError: It could not be put in place; it is discarded.
        """
        try:
            _sync(scratch)
            with self._mutex:
                stem, first = self._growing[scratch]
                more = f"-{last_event}" if last_event is not None and last_event > first else ""
                target = self.folder / f"{stem}{more}{scratch.suffix}"
                os.replace(scratch, target)
                del self._growing[scratch]
                media = _read(target)
                if media is None:
                    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
                self._listed[media.name] = media
                self._changed()
                self._trim()
                return media
        except OSError:
            self.discard(scratch)
            raise

    def discard(self, scratch: Path) -> None:
        """Removes a file that will not be completed."""
        with self._mutex:
            self._growing.pop(scratch, None)
        with contextlib.suppress(OSError):
            scratch.unlink()

    def make_room(self) -> None:
        """Removes the oldest files until the quota holds; to be called now and then while a file grows.

        Raises:
            OSError: The disk is full for another reason than these files, or nothing can be removed.
        """
        self._trim()
        if shutil.disk_usage(self.folder).free < self._keep_free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Lets another program use the folder."""
        os.close(self._lock)

    def _scratch(self, name: str) -> Path:
        return self.folder / f"{_GROWING}{name}"

    def _is_taken(self, name: str) -> bool:
        return name in self._listed or self._scratch(name) in self._growing

    def _trim(self) -> None:
        with self._mutex:
            used = self.used()
            gone = []
            for media in reversed(self._sorted):
                if used <= self.quota:
                    break
                (self.folder / media.name).unlink(missing_ok=True)
                used -= media.bytes
                gone.append(media.name)
            for name in gone:
                del self._listed[name]
            if gone:
                self._changed()

    def _changed(self) -> None:
        self._sorted = tuple(sorted(self._listed.values(), key=lambda media: (media.when, media.name), reverse=True))

    def _adopt(self) -> None:
        """Takes over what a killed program left: complete pictures and what plays of a film."""
        for path in self.folder.glob(f"{_GROWING}*"):
            name = path.name.removeprefix(_GROWING)
            with contextlib.suppress(OSError):
                if _NAME.fullmatch(name) and path.suffix == ".mp4" and _size(path) and plays(path):
                    os.replace(path, self.folder / name)
                else:
                    path.unlink()


def _read(path: Path) -> Media | None:
    """The file as the folder lists it; ``None`` for what the store did not make."""
    if not (match := _NAME.fullmatch(path.name)) or path.is_symlink() or not path.is_file():
        return None
    kind, stamp, first, last, suffix = match.groups()
    shown: Kind = _KINDS[kind] if suffix == "mp4" else "snapshot"
    event = int(first) if kind == "clip" else None
    try:
        when = float(_seconds(stamp))
    except ValueError:
        return None
    return Media(path.name, shown, _size(path), when, event, int(last) if event is not None and last else event)


def _seconds(stamp: str) -> int:
    import calendar

    return calendar.timegm(time.strptime(stamp, _STAMP))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sync(path: Path) -> None:
    """To the disk itself: a board loses its power more often than its program."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(folder: Path) -> None:
    """Refuses a folder in which nothing can be written."""
    try:
        check_writable(probe := folder / "media")
    except InputError as error:
        seen = error.seen.replace(str(probe), f"folder {folder}", 1)
        raise InputError(
            seen, "expected one for recordings and pictures", "make it writable, or name another"
        ) from None


def _lock(folder: Path) -> int:
    """Held as long as the program lives, however it ends."""
    descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InputError(
            f"{folder} is in use by another program", "expected a folder of its own", "name another"
        ) from None
    return descriptor
