"""How fast frames go through the real pipeline, and how old results are when they come out."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from runtime.detector import Detector
from runtime.frame import Frame
from runtime.pipeline import Pipeline
from runtime.rounds import statistics

CAMERA_FPS = 30.0
"""The camera that latency is measured with."""
_PACED_FRAMES = 90
# The pipeline's threads, its buffers and the caches are there after so many results.
_SETTLED = 3
_PARTS = 5


class MemorySource:
    """The same picture again and again, without any cost of its own; a :class:`runtime.sources.Source`.

    Args:
        frame: The picture.
        count: How many frames there are.
    """

    live = False
    fps: float | None = CAMERA_FPS

    def __init__(self, frame: Frame, count: int) -> None:
        self._frame = frame
        self._left = count

    def read(self) -> Frame | None:
        """The next frame, captured now."""
        if not self._left:
            return None
        self._left -= 1
        return Frame(self._frame.pixels, self._frame.color, self._frame.source)

    def rewind(self) -> bool:
        """Once is enough."""
        return False

    def close(self) -> None:
        """Nothing to free."""


def stream(detector: Detector, frame: Frame, runs: int) -> dict[str, Any]:
    """Runs the pipeline over one picture, first as fast as it goes, then from a camera of 30 frames a second.

    Args:
        detector: Any.
        frame: The picture.
        runs: Frames of the first, about; at most 90 of the second, 3 seconds.

    Returns:
        ``frames``, ``fps`` (frames a second), ``invoke_share`` (``fps`` over that of bare ``invoke()`` in a loop: 1 is
        all there is to have), ``camera_fps``, ``latency_ms`` (capture to result at ``camera_fps``: ``min``, ``median``,
        ``p95``, ``p99``) and ``dropped``, the camera's frames that came too soon.

    The processor's speed moves: pipeline and bare ``invoke()`` take turns in parts of the frames, each part is compared
    with its neighbours, and the share is the median of the parts.
    """
    part = max(2, runs // _PARTS)
    gaps: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    shares = []
    before = _invoke_seconds(detector, part)
    for _ in range(_PARTS):
        with Pipeline(MemorySource(frame, part + _SETTLED), detector) as pipeline:
            gaps.append(np.diff([result.ready for result in pipeline][_SETTLED - 1 :]))
        after = _invoke_seconds(detector, part)
        shares.append(np.median([before, after]) / gaps[-1].mean())
        before = after
    with Pipeline(MemorySource(frame, min(runs, _PACED_FRAMES) + _SETTLED), detector, paced=True) as pipeline:
        results = list(pipeline)
    late = np.array([result.latency for result in results[_SETTLED if len(results) > _SETTLED else 0 :]])
    return {
        "frames": _PARTS * part,
        "fps": round(float(1 / np.concatenate(gaps).mean()), 2),
        "invoke_share": round(float(np.median(shares)), 4),
        "camera_fps": CAMERA_FPS,
        "latency_ms": statistics(1e3 * late),
        "dropped": results[-1].dropped,
    }


def _invoke_seconds(detector: Detector, runs: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    seconds = np.empty(runs)
    for run in range(runs):
        start = time.perf_counter()
        detector.executor.invoke()
        seconds[run] = time.perf_counter() - start
    return seconds
