"""What a camera that compresses costs beside a network that is slower: frames a second, processor time and latency.

``python -m tests.time_capture MODEL [--threads N] [--size 1280x720] [--fps 30] [--seconds 5] [--rounds 5]``

A stand-in for a webcam gives JPEG pictures by the clock; they are decoded when OpenCV would decode them. Every picture
is decoded in one half of the rounds, as an onlooker wants it, in the other those alone that the network may get.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from runtime.detector import Detector
from runtime.frame import Frame
from runtime.pipeline import Onlooker, Pipeline
from runtime.scenes import CardMotion
from runtime.sources.reopening import ReopeningSource
from runtime.sources.video import VideoSource

_SETTLED = 5


class Webcam:
    """As far as :class:`VideoSource` needs it an OpenCV capture of MJPG pictures, all alike."""

    def __init__(self, width: int, height: int, fps: float) -> None:
        scene = CardMotion(12, width, height).at(3.0).pixels
        self._data = cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        self._facts = {
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_FRAME_WIDTH: float(width),
            cv2.CAP_PROP_FRAME_HEIGHT: float(height),
        }
        self._interval = 1 / fps
        self._taken = self._next = time.monotonic()
        self.decoded = 0

    def get(self, key: int) -> float:
        return 1e3 * self._taken if key == cv2.CAP_PROP_POS_MSEC else self._facts.get(key, 0.0)

    def grab(self) -> bool:
        """Waits for the next picture; one that was missed is gone."""
        now = time.monotonic()
        missed = max(0, int((now - self._next) / self._interval))
        self._next += (missed + 1) * self._interval
        time.sleep(max(0.0, self._next - now))
        self._taken = self._next
        return True

    def retrieve(self) -> tuple[bool, Any]:
        self.decoded += 1
        return True, cv2.imdecode(self._data, cv2.IMREAD_COLOR)

    def release(self) -> None:
        pass


class _Everybody:
    """Wants every picture, for nothing."""

    active = True

    def passed(self, frame: Frame) -> None:
        pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line for each way and round, and their medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    cv2.setNumThreads(1)
    rows: dict[str, list[list[float]]] = {"every": [], "wanted": []}
    with Detector.open(options.model, options.threads) as detector:
        for _ in range(options.rounds):
            for way, onlooker in ("every", _Everybody()), ("wanted", None):
                camera = Webcam(width, height, options.fps)
                rows[way].append(_run(detector, onlooker, camera, options.seconds))
                print(way, *(f"{number:.2f}" for number in rows[way][-1]), flush=True)
    for way, figures in rows.items():
        fps, cores, latency, worst, decoded = (statistics.median(column) for column in zip(*figures, strict=True))
        print(
            f"{way}: {fps:.2f} results/s, {cores:.2f} cores, capture to result {latency:.1f} ms (p95 {worst:.1f}), "
            f"{decoded:.2f} decoded per result"
        )


def _run(detector: Detector, onlooker: Onlooker | None, camera: Webcam, seconds: float) -> list[float]:
    video = VideoSource(cast(cv2.VideoCapture, camera), "webcam", live=True, driver_clock=True)
    source = ReopeningSource("webcam", lambda: video, video)
    with Pipeline(source, detector, onlooker=onlooker) as pipeline:
        for _ in range(_SETTLED):
            pipeline.take()
        begin, busy, decoded, latencies = time.monotonic(), _busy(), camera.decoded, []
        while (now := time.monotonic()) < begin + seconds:
            if result := pipeline.take():
                latencies.append(1e3 * result.latency)
        cores, decoded = (_busy() - busy) / (now - begin), camera.decoded - decoded
    late = np.percentile(latencies, [50, 95])
    return [len(latencies) / (now - begin), cores, float(late[0]), float(late[1]), decoded / len(latencies)]


def _busy() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
