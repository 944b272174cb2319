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
LOOKS = 10


class Conditions:
    """What a measurement was taken under. Begins where it is made."""

    def __init__(self) -> None:
        board.reset_peak_rss()
        throttle = board.throttle()
        self._before = _state(throttle)
        self._known = throttle is not None
        self._slowed = bool(throttle and throttle.now)
        # A bit that joins these while the measurement runs was true for a moment between two looks.
        self._since_boot = throttle.since_boot if throttle else ()

    def look(self) -> None:
        """Looks whether the board is throttled at this moment, or was since the last look."""
        if self._known and not self._slowed:
            self._take(board.throttle())

    def _take(self, throttle: board.Throttle | None) -> None:
        if throttle and self._known:
            self._slowed |= bool(throttle.now) or throttle.since_boot != self._since_boot

    def figures(self) -> dict[str, Any]:
        """What rows of ``bench`` say about it.

        ``peak_rss_mb``; ``throttled`` (at any look, this one the last; ``None``: nothing tells), ``machine``, and
        ``before`` and ``after``: ``celsius``, ``mhz`` and ``throttle``, each ``None`` where nothing tells.
        """
        throttle = board.throttle() if self._known else None
        self._take(throttle)
        return {
            "peak_rss_mb": round(board.peak_rss_mb(), 1),
            "throttled": self._slowed if self._known else None,
            "machine": board.cpu_name(),
            "before": self._before,
            "after": _state(throttle),
        }


def _state(throttle: board.Throttle | None) -> dict[str, Any]:
    return {
        "celsius": board.temperature(),
        "mhz": board.frequency(),
        "throttle": throttle.to_dict() if throttle else None,
    }


def time_inference(
    models: Sequence[Path], threads: Sequence[int], runs: int, delegate: str | None = None
) -> list[dict[str, Any]]:
    """Times the bare ``invoke()`` of models, one row per thread count and model.

    Args:
        models: Model files of any kind. The first is what the others are compared with.
        threads: Thread counts to try.
        runs: Timed rounds per thread count; a round runs each model once.
        delegate: An external delegate, see :class:`~runtime.engine.Engine`.

    Returns:
        Rows as ``bench --inference-only`` in ``docs/commands.md`` describes them.

    Raises:
        InputError: Not a model file, or one the interpreter refuses.
    """
    return [row for count in threads for row in _rows(models, count, runs, delegate)]


def statistics(ms: npt.NDArray[np.float64]) -> dict[str, float]:
    """Least, median, 95th and 99th percentile of some milliseconds ``(n,)``."""
    low, median, p95, p99 = np.percentile(ms, (0, 50, 95, 99))
    return {
        "min": round(float(low), 4),
        "median": round(float(median), 4),
        "p95": round(float(p95), 4),
        "p99": round(float(p99), 4),
    }


def ratio(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], draws: int = 2000) -> dict[str, float]:
    """How many times as long as another one takes, with how sure that is.

    Rounds are drawn again with replacement, both of a round together, since what disturbs one disturbs the other
    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3).

    Args:
        ours: ``(n,)`` milliseconds, by round.
        theirs: ``(n,)`` milliseconds of the other one in the same rounds.
        draws: How often rounds are drawn.

    Returns:
        ``ratio`` of the medians, and ``low`` and ``high`` of its 95 % interval.
    """
    drawn = np.random.default_rng(0).integers(0, len(ours), (draws, len(ours)))
    spread = np.median(ours[drawn], axis=1) / np.median(theirs[drawn], axis=1)
    low, high = np.percentile(spread, (2.5, 97.5))
    return {
        "ratio": round(float(np.median(ours) / np.median(theirs)), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def turns(count: int, run: int) -> list[int]:
    """In which order ``count`` models take their turns in a round: each comes first equally often.

    Whoever always ran behind the same other one would find the caches and the clock as that one leaves them.
    """
    return [(run + offset) % count for offset in range(count)]


def _rows(models: Sequence[Path], threads: int, runs: int, delegate: str | None) -> list[dict[str, Any]]:
    conditions = Conditions()
    engines = [Engine(model, threads, delegate) for model in models]
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
            **({"compared": {"with": str(models[0]), "inference": ratio(seconds[:, at], seconds[:, 0])}} if at else {}),
            "provider": engines[at].provider,
            **delegate_row(engines[at]),
            **common,
        }
        for at, model in enumerate(models)
    ]


def delegate_row(engine: object) -> dict[str, Any]:
    """What became of a delegate, where one was asked for."""
    use = getattr(engine, "delegate", None)
    return {"delegate": use.to_dict()} if use else {}


def _seconds(engines: Sequence[Engine], runs: int, conditions: Conditions) -> npt.NDArray[np.float64]:
    """Seconds ``(runs, engines)`` of each inference."""
    seconds = np.empty((runs, len(engines)))
    for run in range(-WARM_UP, runs):
        if run % max(1, runs // LOOKS) == 0:
            conditions.look()
        for at in turns(len(engines), run):
            start = time.perf_counter()
            engines[at].invoke()
            if run >= 0:
                seconds[run, at] = time.perf_counter() - start
    return seconds
