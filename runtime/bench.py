"""Timing of a model file on this machine, whole frames and all. ``runtime.rounds`` times bare networks.

A frame needs the network (``invoke``) and everything around it. Both are timed in turn, a bare ``invoke`` and then a
whole detection, so that a noisy machine disturbs both alike and their ratio stays honest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from runtime.classifier import Classifier
from runtime.detector import Detector
from runtime.engine import Executor
from runtime.frame import Frame
from runtime.opening import open_engine
from runtime.rounds import LOOKS, WARM_UP, Conditions, delegate_row, ratio, statistics, turns
from runtime.streaming import stream

_SIZE = (432, 768)


def bench(
    models: Sequence[Path],
    threads: Sequence[int],
    runs: int,
    frame: Frame | None = None,
    *,
    streaming: bool = False,
    delegate: str | None = None,
) -> list[dict[str, Any]]:
    """Times models, one row per thread count and model; several models take turns, round by round.

    Args:
        models: Model files.
        threads: Thread counts to try.
        runs: Timed rounds per thread count.
        frame: The picture to detect on; by default 768x432 of smooth noise.
        streaming: Whether to run detectors in the pipeline too, about four seconds more for each row.
        delegate: An external delegate, see :class:`~runtime.engine.Engine`.

    Returns:
        Rows as ``bench`` in ``docs/commands.md`` describes them; times in milliseconds.

    Raises:
        InputError: Not a model file, or one that neither detects nor classifies.
    """
    picture = frame or noise_frame()
    return [row for count in threads for row in _rows(models, count, runs, picture, streaming, delegate)]


def noise_frame() -> Frame:
    """A 768x432 picture of smooth coloured noise, always the same."""
    coarse = np.random.default_rng(0).integers(0, 256, (27, 48, 3), np.uint8)
    return Frame(np.asarray(cv2.resize(coarse, _SIZE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8), "bgr", "noise")


def _rows(
    models: Sequence[Path], threads: int, runs: int, frame: Frame, streaming: bool, delegate: str | None
) -> list[dict[str, Any]]:
    conditions = Conditions()
    # OpenCV must not use more cores than the interpreter may, or the comparison between thread counts is wrong.
    cv2.setNumThreads(threads)
    with contextlib.ExitStack() as stack:
        opened: list[Detector | Classifier] = [_open(model, threads, delegate) for model in models]
        for model in opened:
            stack.callback(model.close)
        timings = [_Timings(model, runs) for model in opened]
        for timing in timings:
            for _ in range(WARM_UP):
                timing.work(frame)
        for run in range(runs):
            if run % max(1, runs // LOOKS) == 0:
                conditions.look()
            for at in turns(len(timings), run):
                timings[at].take(run, frame)
        streams = [
            stream(model, frame, runs) if streaming and isinstance(model, Detector) else None for model in opened
        ]
        facts = [_facts(model.executor) for model in opened]
    common = conditions.figures()
    return [
        {
            "model": str(path),
            "threads": threads,
            "runs": runs,
            **timing.figures(),
            **({"compared": {"with": str(models[0]), **timing.beside(timings[0])}} if at else {}),
            "stream": flow,
            **fact,
            **common,
        }
        for at, (path, timing, flow, fact) in enumerate(zip(models, timings, streams, facts, strict=True))
    ]


def _open(model: Path, threads: int, delegate: str | None) -> Detector | Classifier:
    card, engine = open_engine(model, threads, delegate=delegate)
    return Detector(card, engine) if card.task == "detect" else Classifier(card, engine)


def _facts(executor: Executor) -> dict[str, Any]:
    return {"provider": getattr(executor, "provider", ""), **delegate_row(executor)}


class _Timings:
    """Times of one detector or classifier."""

    def __init__(self, model: Detector | Classifier, runs: int) -> None:
        self._executor = model.executor
        self.work = model.detect if isinstance(model, Detector) else model.classify
        self._invoke, self._total, self._stages = np.empty(runs), np.empty(runs), np.empty((runs, 3))
        self._found = 0

    def take(self, run: int, frame: Frame) -> None:
        """A bare invoke, then a whole detection."""
        start = time.perf_counter()
        self._executor.invoke()
        middle = time.perf_counter()
        found = self.work(frame)
        end = time.perf_counter()
        self._invoke[run], self._total[run], self._stages[run] = middle - start, end - middle, found.ms
        self._found = len(found)

    def beside(self, other: _Timings) -> dict[str, Any]:
        """How much longer this one takes."""
        return {"inference": ratio(self._invoke, other._invoke), "end_to_end": ratio(self._total, other._total)}

    def figures(self) -> dict[str, Any]:
        """Statistics of all rounds."""
        return {
            "inference_ms": statistics(self._invoke * 1e3),
            "end_to_end_ms": statistics(self._total * 1e3),
            "preprocess_ms": statistics(self._stages[:, 0]),
            "inference_stage_ms": statistics(self._stages[:, 1]),
            "postprocess_ms": statistics(self._stages[:, 2]),
            "end_to_end_ratio": round(float(np.median(self._total) / np.median(self._invoke)), 3),
            "detections": self._found,
        }
