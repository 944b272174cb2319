"""Timing of bare networks in turn, round by round, so that a noisy machine disturbs all alike.

Inference alone: the files need no card and the machine no OpenCV, only NumPy and a TFLite runtime.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import board
from runtime.engine import Engine

WARM_UP = 10
# So often a measurement looks whether the board is throttled, between two rounds: heat comes and goes.
_LOOKS = 10


class Conditions:
    """What a measurement was taken under. Begins where it is made."""

    def __init__(self) -> None:
        board.reset_peak_rss()
        self._throttled = board.throttled()

    def look(self) -> None:
        """Looks whether the board is throttled at this moment."""
        if self._throttled is False:
            self._throttled = board.throttled()

    def figures(self) -> dict[str, Any]:
        """``peak_rss_mb``, ``throttled`` (at any look, this one the last; ``None``: nothing tells) and ``machine``."""
        self.look()
        return {
            "peak_rss_mb": round(board.peak_rss_mb(), 1),
            "throttled": self._throttled,
            "machine": board.cpu_name(),
        }


def time_inference(models: Sequence[Path], threads: Sequence[int], runs: int) -> list[dict[str, Any]]:
    """Times the bare ``invoke()`` of models, one row per thread count and model.

    Args:
        models: Model files of any kind. The first is what the others are compared with.
        threads: Thread counts to try.
        runs: Timed rounds per thread count; a round runs each model once.

    Returns:
        Rows as ``bench --inference-only`` in ``docs/commands.md`` describes them.

    Raises:
        InputError: Not a model file, or one the interpreter refuses.
    """
    return [row for count in threads for row in _rows(models, count, runs)]


def statistics(ms: npt.NDArray[np.float64]) -> dict[str, float]:
    """Least, median and 95th percentile of some milliseconds ``(n,)``."""
    return {
        "min": round(float(ms.min()), 4),
        "median": round(float(np.median(ms)), 4),
        "p95": round(float(np.percentile(ms, 95)), 4),
    }


def turns(count: int, run: int) -> list[int]:
    """In which order ``count`` models take their turns in a round: each comes first equally often.

    Whoever always ran behind the same other one would find the caches and the clock as that one leaves them.
    """
    return [(run + offset) % count for offset in range(count)]


def _rows(models: Sequence[Path], threads: int, runs: int) -> list[dict[str, Any]]:
    conditions = Conditions()
    engines = [Engine(model, threads) for model in models]
    seconds = _seconds(engines, runs, conditions)
    # Round by round: what disturbs a whole round does not count.
    slower = 100 * (np.median(seconds / seconds[:, :1], axis=0) - 1)
    common = conditions.figures()
    return [
        {
            "model": str(model),
            "threads": threads,
            "runs": runs,
            "inference_ms": statistics(1e3 * seconds[:, at]),
            "end_to_end_ms": None,
            "slowdown": round(float(slower[at]), 4),
            "provider": engines[at].provider,
            **common,
        }
        for at, model in enumerate(models)
    ]


def _seconds(engines: Sequence[Engine], runs: int, conditions: Conditions) -> npt.NDArray[np.float64]:
    """Seconds ``(runs, engines)`` of each inference."""
    seconds = np.empty((runs, len(engines)))
    for run in range(-WARM_UP, runs):
        if run % max(1, runs // _LOOKS) == 0:
            conditions.look()
        for at in turns(len(engines), run):
            start = time.perf_counter()
            engines[at].invoke()
            if run >= 0:
                seconds[run, at] = time.perf_counter() - start
    return seconds
