"""Opening of files a user named, and writing of files that are whole or absent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import InputError, RunError

MAX_TEXT_BYTES = 16 << 20


def check_file(path: Path, expected: str, action: str = "check the path") -> Path:
    """Refuses a path that is missing, a folder, empty or unreadable.

    Args:
        path: The file.
        expected: What it should be, such as ``a .tflite model``.
        action: What to do about it.

    Raises:
        InputError: With one line that says which of these it is.
    """
    expected = f"expected {expected}"
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder", expected, action)
        with path.open("rb") as stream:
            if not stream.read(1):
                raise InputError(f"{path} is empty (0 bytes)", expected, action)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", expected, action) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({_reason(error)})", expected, action) from None
    return path


def check_folder(path: Path, expected: str) -> Path:
    """Refuses a path that is not a folder.

    Raises:
        InputError: It is missing or a file.
    """
    if not path.is_dir():
        seen = "is a file" if path.exists() else "no such folder"
        raise InputError(f"{path}: {seen}", f"expected {expected}", "check the path")
    return path


def read_text(path: Path, expected: str) -> str:
    """The text of a small UTF-8 file.

    Raises:
        InputError: Missing, empty, too large or not text.
    """
    check_file(path, expected)
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes", f"expected {expected}", "check the path")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text", f"expected {expected}", "check the path") from None


def read_names(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one per line; trailing blank lines do not count.

    Raises:
        InputError: Missing, empty or not text.
    """
    names = [line.strip() for line in read_text(path, "a text file with one class name per line").splitlines()]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise InputError(f"{path} holds no names", "expected one class name per line", "check --labels")
    return tuple(names)


def ffmpeg_name(path: Path) -> str:
    """A path as FFmpeg takes it for one: what stands before a first colon, as in ``12:30.mp4``, would be a protocol.

    Raises:
        InputError: A name that is not UTF-8: OpenCV would end the process.
    """
    name = os.path.join(os.curdir, path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(path)!a} is not UTF-8", "expected names in UTF-8", "rename it") from None
    return name


def check_writable(path: Path) -> Path:
    """Refuses an output path before any work is done for it.

    Raises:
        InputError: It is a folder, its folder does not exist, or nothing can be created there.
    """
    action = "choose another output path"
    import tempfile  # Takes its time, and most programs only read.

    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder", "expected a file name to write", action)
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: no such folder", f"expected a folder to write {path.name} in", action)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:60]}.")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({_reason(error)})", "", action) from None
    os.close(descriptor)
    os.unlink(name)
    return path


def make_folder(path: Path) -> Path:
    """Makes a folder and those above it, unless they are there.

    Raises:
        InputError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder {path} cannot be made ({_reason(error)})", "", "choose another output") from None
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a scratch path beside ``path`` that takes its place when the block ends well.

    The scratch file keeps the suffix, because writers such as OpenCV choose the format by it. When the block
    fails nothing is left behind and an older ``path`` stays as it was.

    Raises:
        InputError: The place cannot be written.
        RunError: The finished file could not be put in place (a full disk).
    """
    check_writable(path)
    scratch = path.with_name(f".{path.stem[:60]}.{os.getpid()}.part{path.suffix}")
    try:
        yield scratch
        # mkstemp-like privacy is not wanted: the result gets the permissions any new file would get.
        os.replace(scratch, path)
    except OSError as error:
        raise RunError(f"{path} could not be written ({_reason(error)})", "", "free disk space and retry") from None
    finally:
        scratch.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
