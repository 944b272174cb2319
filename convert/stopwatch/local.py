"""Model files timed in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.stopwatch.timing import RUNS, Timing, check_counts, describe, timings
from runtime.board import cpu_name
from runtime.profile import profile
from runtime.provider import provider
from runtime.rounds import time_inference


@dataclass(frozen=True)
class LocalStopwatch:
    """Measures on this machine; a :class:`convert.stopwatch.Stopwatch`.

    Attributes:
        threads: Interpreter threads.
        runs: Timed rounds.

    Raises:
        InputError: Fewer than one thread or round.
    """

    threads: int = 1
    runs: int = RUNS

    def __post_init__(self) -> None:
        check_counts(self.threads, self.runs)

    @property
    def name(self) -> str:
        """The processor, its interpreter and the threads, for reports."""
        return describe(cpu_name(), str(provider()), self.threads)

    def time(self, files: Sequence[bytes]) -> list[Timing]:
        """Times files in turn; see :meth:`convert.stopwatch.Stopwatch.time`."""
        with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
            paths = [Path(folder) / f"{at}.tflite" for at in range(len(files))]
            for path, data in zip(paths, files, strict=True):
                path.write_bytes(data)
            return timings(time_inference(paths, [self.threads], self.runs), self.name)

    def by_op(self, file: bytes) -> dict[str, float]:
        """Milliseconds by op; see :meth:`convert.stopwatch.Stopwatch.by_op`."""
        with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
            path = Path(folder) / "whole.tflite"
            path.write_bytes(file)
            return profile(path, self.threads).ms_by_output


def time_files(files: Sequence[bytes]) -> list[Timing]:
    """Times models in turn on this machine; one thread.

    Args:
        files: Models; the first is what the others are compared with.
    """
    return LocalStopwatch().time(files)
