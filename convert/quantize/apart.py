"""TensorFlow's converter, in a process of its own that stays (``convert.quantize.child``)."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from convert.quantize.child import LOG
from runtime.errors import RunError

_ROOT = Path(__file__).resolve().parents[2]


class _Converter:
    """The process, started when it is first wanted and again when it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._said: IO[bytes] | None = None

    def start(self) -> subprocess.Popen[str]:
        """Starts it; returns at once."""
        if self._process is None:
            # A pipe that nobody reads would fill up.
            self._said = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                [sys.executable, "-m", "convert.quantize.child"],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                    "CUDA_VISIBLE_DEVICES": "-1",
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
            )
        return self._process

    def prepare(self) -> None:
        """Starts it where it does not run."""
        with self._lock:
            self.start()

    def convert(self, folder: Path, precision: str) -> tuple[int, str]:
        """Exit status of a conversion, and what was said."""
        with self._lock:
            process = self.start()
            assert process.stdin
            assert process.stdout
            answer = ""
            with contextlib.suppress(OSError):
                process.stdin.write(json.dumps([str(folder), precision]) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            if answer:
                log = folder / LOG
                return int(answer), log.read_text(errors="replace") if log.exists() else ""
            return self._end()

    def close(self) -> None:
        """Ends it, and a conversion that nobody waits for any more."""
        with self._lock:
            if self._process:
                self._process.kill()
            self._end()

    def _end(self) -> tuple[int, str]:
        process, said = self._process, self._said
        if process is None or said is None:
            return 0, ""
        self._process = self._said = None
        with process, said:
            with contextlib.suppress(OSError):
                process.communicate()
            said.seek(0)
            return process.returncode, said.read().decode(errors="replace")


_converter = _Converter()
atexit.register(_converter.close)


def prepare() -> None:
    """A conversion comes: TensorFlow is loaded for it meanwhile. Returns at once."""
    _converter.prepare()


def convert_apart(folder: Path, precision: str) -> None:
    """Converts what lies in a folder (``convert.quantize.child.main``).

    Raises:
        RunError: The converter failed or crashed; the message ends with its last words.
    """
    status, said = _converter.convert(folder, precision)
    if status == 0:
        return
    last = [line for line in said.splitlines() if line.strip()][-1:] or ["no message"]
    if status < 0:
        last = [f"killed by {signal.Signals(-status).name}"]
    raise RunError(
        f"TensorFlow's converter failed ({last[0].strip()[:300]})",
        "expected a network it can quantise",
        "report the network, or convert an earlier version of it",
    )
