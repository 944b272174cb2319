"""One JSON object per line and frame."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO

from runtime.detections import Detections
from runtime.errors import InputError, RunError
from runtime.files import check_writable
from runtime.frame import Frame


class JsonSink:
    """Writes JSON lines.

    Lines are flushed one by one: they are a stream for a program to follow, so unlike the other outputs the file
    grows in place.

    Args:
        target: ``-`` for standard output, else a path.
        labels: Class names by class index.

    Raises:
        InputError: The path cannot be written.
    """

    def __init__(self, target: str, labels: tuple[str, ...]) -> None:
        if not target:
            raise InputError("json:// names no file", "expected json://- or json://FILE")
        self.labels = labels
        self._name = "standard output" if target == "-" else target
        self._file: TextIO | None = None
        if target != "-":
            # A file name that is no UTF-8 has surrogates, which JSON writes as such an escape too.
            self._file = check_writable(Path(target)).open("w", encoding="utf-8", errors="backslashreplace")

    def write(self, frame: Frame, found: Detections) -> None:
        """Writes one line.

        Raises:
            RunError: The disk is full.
        """
        stream = self._file or sys.stdout
        line = json.dumps(found.to_dict(frame, self.labels), ensure_ascii=False)
        try:
            print(line, file=stream, flush=True)
        except BrokenPipeError:
            # The reader (head, a closed pager, a named pipe's) has gone: that is an end, not an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise KeyboardInterrupt from None
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Closes the file.

        Raises:
            RunError: The disk is full.
        """
        if self._file:
            try:
                self._file.close()
            except OSError as error:
                raise self._failed(error) from None

    def _failed(self, error: OSError) -> RunError:
        return RunError(f"{self._name} cannot be written ({error.strerror})", "", "free disk space and retry")
