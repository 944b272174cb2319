"""Whether memory grows while frames go through: kilobytes beside the number of frames.

Usage, from the top of the repository: python -m tests.runtime.memory MODEL [--frames N] [--pipeline]

It prints the resident memory after a twentieth of the frames, when all buffers are there, and at the end.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from runtime.detector import Detector
from runtime.frame import Frame
from runtime.pipeline import Pipeline

_PICTURES = 7


class Noise:
    """A source of a few noisy pictures, again and again, all of one size."""

    live = False
    fps: float | None = None

    def __init__(self, frames: int) -> None:
        random = np.random.default_rng(0)
        self._pictures = [random.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(_PICTURES)]
        self._numbers = iter(range(frames))

    def read(self) -> Frame | None:
        number = next(self._numbers, None)
        return None if number is None else Frame(self._pictures[number % _PICTURES], index=number)

    def rewind(self) -> bool:
        return False

    def close(self) -> None:
        pass


def resident_kb() -> int:
    """Resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def growth(model: Path, frames: int, pipeline: bool) -> tuple[int, int, int]:
    """Objects found, and kilobytes early on and at the end."""
    detector, source, objects, early = Detector.open(model, threads=1, score=0.2), Noise(frames), 0, 0
    for number, found in enumerate(_streamed(detector, source) if pipeline else _one_by_one(detector, source)):
        objects += found
        if number == frames // 20:
            early = resident_kb()
    return objects, early, resident_kb()


def _one_by_one(detector: Detector, source: Noise) -> Iterator[int]:
    for frame in itertools.takewhile(lambda frame: frame is not None, iter(source.read, None)):
        yield len(detector.detect(frame))


def _streamed(detector: Detector, source: Noise) -> Iterator[int]:
    with Pipeline(source, detector) as running:
        for result in running:
            yield len(result.found)


def main() -> None:
    """Prints a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--pipeline", action="store_true")
    arguments = parser.parse_args()
    objects, early, late = growth(arguments.model, arguments.frames, arguments.pipeline)
    print(
        f"{arguments.frames} frames, {objects} objects: {early} kB early on, {late} kB at the end, {late - early:+} kB"
    )


if __name__ == "__main__":
    main()
