"""How old results are when they come out: ``python -m tests.time_stream MODEL SOURCE``.

A source of pictures, such as ``synthetic://cards`` or a video file, plays at its own pace (30 frames/s where it has
none) through the pipeline, as ``apps.live`` runs it. What is allowed is 1.2 inferences and one frame interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from runtime.board import cpu_name
from runtime.detector import Detector
from runtime.pipeline import Pipeline
from runtime.rounds import statistics
from runtime.sources import open_source

_SETTLED = 10  # results


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("source")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    late, inference, dropped = [], [], 0
    source = open_source(given.source)
    interval = 1e3 / (source.fps or 30)
    with (
        Detector.open(given.model, threads=given.threads) as detector,
        Pipeline(source, detector, loop=True, paced=True) as pipeline,
    ):
        for result in pipeline:
            late.append(1e3 * result.latency)
            inference.append(result.found.ms.inference)
            dropped = result.dropped
            if len(late) >= given.frames + _SETTLED:
                break
    ms, network = statistics(np.array(late[_SETTLED:])), float(np.median(inference[_SETTLED:]))
    figures = ", ".join(f"{name} {value:.1f}" for name, value in ms.items())
    print(f"{given.model.stem} on {given.source}, {cpu_name()}, {given.threads} thread(s), {given.frames} results")
    print(f"capture to result, ms: {figures}; {dropped} dropped")
    print(f"network {network:.1f} ms, interval {interval:.1f} ms: p95 may be {1.2 * network + interval:.1f} ms")


if __name__ == "__main__":
    main()
