"""The one place that knows which TensorFlow Lite interpreter is installed.

Order: ``ai-edge-litert`` (64-bit boards and workstations), ``tflite-runtime`` (32-bit boards), ``tensorflow``.
"""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from typing import IO, Any

from runtime.errors import RunError
from runtime.values import value

# Name, module, where in it the Interpreter is, and the distribution its version comes from.
_PROVIDERS = (
    ("litert", "ai_edge_litert.interpreter", "Interpreter", "ai-edge-litert"),
    ("tflite_runtime", "tflite_runtime.interpreter", "Interpreter", "tflite-runtime"),
    ("tensorflow", "tensorflow", "lite.Interpreter", "tensorflow"),
)


@value
class Provider:
    """An installed interpreter.

    Attributes:
        name: ``litert``, ``tflite_runtime`` or ``tensorflow``.
        distribution: The package it comes from.
        interpreter: The ``Interpreter`` class.
    """

    name: str
    distribution: str
    interpreter: Any

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
    """The first provider that imports.

    Raises:
        RunError: None is installed, with the reason each one failed.
    """
    reasons = []
    for name, module, attribute, distribution in _PROVIDERS:
        try:
            with quiet_native_log():
                interpreter = operator.attrgetter(attribute)(importlib.import_module(module))
            return Provider(name, distribution, interpreter)
        except (ImportError, AttributeError, SystemError) as error:
            reasons.append(f"{distribution}: {error}")
    raise RunError(
        f"no TensorFlow Lite interpreter ({'; '.join(reasons)})",
        "expected ai-edge-litert, tflite-runtime or tensorflow",
        "pip install 'edgewren[device]'",
    )


@contextlib.contextmanager
def quiet_native_log() -> Iterator[list[str]]:
    """Holds back what native code writes to stderr, and hands over the lines that are not mere notices.

    litert prints an ``INFO:`` line for every interpreter that no variable silences; it would stand between a user and
    the one error line that matters. Lines that are warnings or errors are collected, not lost.
    """
    lines: list[str] = []
    try:
        saved = os.dup(2)
    except OSError:
        yield lines
        return
    with _scratch_file() as buffer:
        sys.stderr.flush()
        os.dup2(buffer.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            buffer.seek(0)
            text = buffer.read(1 << 16).decode("utf-8", "replace")
            lines += [line for line in text.splitlines() if line.strip() and not line.startswith("INFO:")]


def _scratch_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("native-log"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()
