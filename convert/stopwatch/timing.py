"""What a stopwatch is and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.errors import InputError, RunError

# Rounds of a measurement, each file once in a round.
RUNS = 120


@dataclass(frozen=True)
class Timing:
    """One file beside another.

    Attributes:
        ms: Median milliseconds per inference.
        slowdown: Percent that a round takes longer than the same round of the first file, median over the rounds.
    """

    ms: float
    slowdown: float


class Stopwatch(Protocol):
    """Measures model files on one machine, always under the same conditions."""

    @property
    def name(self) -> str:
        """The machine, its interpreter and the threads, for reports."""

    def time(self, files: Sequence[bytes]) -> list[Timing]:
        """Times files in turn, round by round, so that a noisy machine disturbs all alike.

        Args:
            files: ``.tflite`` models, a card is not needed; the first is what the others are compared with.

        Returns:
            One timing per file.

        Raises:
            InputError: What the user can put right, such as a board that cannot be reached.
            RunError: The measurement failed, or the board was throttled.
        """

    def by_op(self, file: bytes) -> dict[str, float]:
        """Milliseconds of a model's ops by the name of the tensor each writes; empty where nothing tells.

        Raises:
            InputError: What the user can put right, such as a board that cannot be reached.
            RunError: The model cannot be run there.
        """


def describe(machine: str, provider: str, threads: int) -> str:
    """The name of a stopwatch."""
    return f"{machine}, {provider}, {threads} thread{'s' if threads > 1 else ''}"


def check_counts(threads: int, runs: int) -> None:
    """Refuses a measurement of nothing.

    Raises:
        InputError: Fewer than one thread or round.
    """
    for name, count in (("threads", threads), ("runs", runs)):
        if count < 1:
            raise InputError(f"{name} is {count}", "expected at least 1", f"give more {name}")


def timings(rows: Sequence[dict[str, Any]], name: str) -> list[Timing]:
    """Timings from the rows of ``bench --inference-only``.

    Args:
        rows: One per file.
        name: Of the stopwatch.

    Raises:
        RunError: The machine was throttled meanwhile.
    """
    if any(row["throttled"] for row in rows):
        raise RunError(
            f"{name}: throttled while it measured (heat or a weak power supply)",
            "expected full speed all the time",
            "cool the board or give it a stronger supply, and measure again",
        )
    return [Timing(float(row["inference_ms"]["median"]), float(row["slowdown"])) for row in rows]
