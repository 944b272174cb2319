"""Timing of a model file on this machine.

A frame needs the network (``invoke``) and everything around it. Both are timed in turn, a bare ``invoke`` and then a
whole detection, so that a noisy machine disturbs both alike and their ratio stays honest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from runtime import board
from runtime.detector import Detector
from runtime.frame import Frame

_WARM_UP = 10
_SIZE = (432, 768)


def bench(model: Path, threads: Sequence[int], runs: int, frame: Frame | None = None) -> list[dict[str, Any]]:
    """Times a model, one row per thread count.

    Args:
        model: A model file.
        threads: Thread counts to try.
        runs: Timed rounds per thread count.
        frame: The picture to detect on; by default 768x432 of smooth noise.

    Returns:
        Rows as ``bench`` in ``docs/commands.md`` describes them; times in milliseconds.

    Raises:
        InputError: Not a model file.
    """
    return [_row(model, count, runs, frame or noise_frame()) for count in threads]


def noise_frame() -> Frame:
    """A 768x432 picture of smooth coloured noise, always the same."""
    coarse = np.random.default_rng(0).integers(0, 256, (27, 48, 3), np.uint8)
    return Frame(np.asarray(cv2.resize(coarse, _SIZE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8), "bgr", "noise")


def _row(model: Path, threads: int, runs: int, frame: Frame) -> dict[str, Any]:
    board.reset_peak_rss()
    before = board.throttled()
    # OpenCV must not use more cores than the interpreter may, or the comparison between thread counts is wrong.
    cv2.setNumThreads(threads)
    invoke, total, stages = np.empty(runs), np.empty(runs), np.empty((runs, 3))
    with Detector.open(model, threads) as detector:
        for _ in range(_WARM_UP):
            found = detector.detect(frame)
        for run in range(runs):
            start = time.perf_counter()
            detector.executor.invoke()
            middle = time.perf_counter()
            found = detector.detect(frame)
            end = time.perf_counter()
            invoke[run], total[run], stages[run] = middle - start, end - middle, found.ms
        provider = getattr(detector.executor, "provider", "")
    after = board.throttled()
    return {
        "threads": threads,
        "runs": runs,
        "inference_ms": _statistics(invoke * 1e3),
        "end_to_end_ms": _statistics(total * 1e3),
        "preprocess_ms": _statistics(stages[:, 0]),
        "postprocess_ms": _statistics(stages[:, 2]),
        "end_to_end_ratio": round(float(np.median(total) / np.median(invoke)), 3),
        "detections": len(found),
        "peak_rss_mb": round(board.peak_rss_mb(), 1),
        "throttled": None if before is None else bool(before or after),
        "provider": provider,
        "machine": board.cpu_name(),
    }


def _statistics(ms: npt.NDArray[np.float64]) -> dict[str, float]:
    return {
        "min": round(float(ms.min()), 4),
        "median": round(float(np.median(ms)), 4),
        "p95": round(float(np.percentile(ms, 95)), 4),
    }
