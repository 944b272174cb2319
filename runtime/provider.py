"""The one place that knows which TensorFlow Lite interpreter is installed.

Order: ``ai-edge-litert`` (64-bit boards and workstations), ``tflite-runtime`` (32-bit boards), ``tensorflow``. The
environment variable ``EDGEWREN_PROVIDER`` names one of them and no other is then tried.
"""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import sys
import threading
from collections.abc import Iterator
from functools import cache, cached_property
from typing import IO, Any

from runtime.errors import InputError, RunError
from runtime.values import value

# Name, module, where in it the Interpreter and load_delegate are, and the distribution its version comes from.
_PROVIDERS = (
    ("litert", "ai_edge_litert.interpreter", "Interpreter", "load_delegate", "ai-edge-litert"),
    ("tflite_runtime", "tflite_runtime.interpreter", "Interpreter", "load_delegate", "tflite-runtime"),
    ("tensorflow", "tensorflow", "lite.Interpreter", "lite.experimental.load_delegate", "tensorflow"),
)
_CHOICE = "EDGEWREN_PROVIDER"
_MAX_LOG_BYTES = 1 << 16


@value
class Provider:
    """An installed interpreter.

    Attributes:
        name: ``litert``, ``tflite_runtime`` or ``tensorflow``.
        distribution: The package it comes from.
        interpreter: The ``Interpreter`` class.
        load_delegate: Takes the library of an external delegate and its options.
    """

    name: str
    distribution: str
    interpreter: Any
    load_delegate: Any

    @cached_property
    def version(self) -> str:
        """Version of its distribution; ``unknown`` where it was installed without telling."""
        import importlib.metadata  # A sixth of a short program's start, so only when somebody asks.

        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@cache
def provider() -> Provider:
    """The first provider that imports, or the one that ``EDGEWREN_PROVIDER`` names.

    Raises:
        InputError: ``EDGEWREN_PROVIDER`` names none of them.
        RunError: None is installed, with the reason each one failed.
    """
    reasons, candidates = [], _candidates()
    for name, module, attribute, loader, distribution in candidates:
        try:
            with quiet_native_log():
                found = importlib.import_module(module)
                interpreter, load_delegate = operator.attrgetter(attribute, loader)(found)
            return Provider(name, distribution, interpreter, load_delegate)
        except (ImportError, AttributeError, SystemError) as error:
            reasons.append(f"{distribution}: {error}")
    *most, last = (distribution for *_, distribution in candidates)
    raise RunError(
        f"no TensorFlow Lite interpreter ({'; '.join(reasons)})",
        f"expected {', '.join(most)} or {last}" if most else f"expected {last}, which {_CHOICE} asks for",
        "pip install 'edgewren[device]'" if most else f"pip install {last}, or unset {_CHOICE}",
    )


def _candidates() -> tuple[tuple[str, str, str, str, str], ...]:
    wanted = os.environ.get(_CHOICE)
    if not wanted:
        return _PROVIDERS
    chosen = tuple(row for row in _PROVIDERS if row[0] == wanted)
    if not chosen:
        names = ", ".join(name for name, *_ in _PROVIDERS)
        raise InputError(f"{_CHOICE} is {wanted!r}", f"expected one of {names}", f"unset {_CHOICE}")
    return chosen


@contextlib.contextmanager
def quiet_native_log() -> Iterator[list[str]]:
    """Holds back what native code writes to stderr, and hands over the lines that are not mere notices.

    litert prints an ``INFO:`` line for every interpreter that no variable silences; it would stand between a user and
    the one error line that matters. Lines that are warnings or errors are collected, not lost. Of several threads that
    do so at once each gets what all of them wrote meanwhile: the process has one stderr.
    """
    lines: list[str] = []
    try:
        held = _native_log.hold()
    except OSError:
        yield lines
        return
    try:
        yield lines
    finally:
        text = _native_log.release(*held)
        lines += [line for line in text.splitlines() if line.strip() and not line.startswith("INFO:")]


class _NativeLog:
    """Where stderr leads while anybody holds it back; whoever is the last to stop, in any order, puts it right."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._stderr = -1
        self._log: IO[bytes] | None = None

    def hold(self) -> tuple[IO[bytes], int]:
        """Begins to hold it back; returns the log, and where in it that is.

        Raises:
            OSError: There is no stderr.
        """
        with self._lock:
            log = self._log or self._redirect()
            self._holders += 1
            return log, os.fstat(log.fileno()).st_size

    def release(self, log: IO[bytes], start: int) -> str:
        """No longer holds it back; returns what was written since, as far as it is of use."""
        with self._lock:
            self._holders -= 1
            text = os.pread(log.fileno(), _MAX_LOG_BYTES, start)
            if not self._holders:
                os.dup2(self._stderr, 2)
                os.close(self._stderr)
                log.close()
                self._log = None
            return text.decode("utf-8", "replace")

    def _redirect(self) -> IO[bytes]:
        if sys.stderr is not None:  # Daemons have none.
            sys.stderr.flush()
        self._stderr = os.dup(2)
        log = _scratch_file()
        os.dup2(log.fileno(), 2)
        self._log = log
        return log


def _scratch_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("native-log"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


_native_log = _NativeLog()
