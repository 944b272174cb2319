"""Milliseconds of a tracker's update on this machine: ``python -m tests.time_tracker [--objects N] [--missed SHARE]``.

It needs NumPy alone. ``tests/oracles/compare_trackers.py`` times other trackers beside it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from runtime.board import cpu_name
from runtime.rounds import statistics
from runtime.track import Tracker
from tests.crowd import drifting

_WARM_UP = 60  # frames


def milliseconds(seed: int, objects: int, missed: float) -> list[float]:
    """Of each update of one scene of 20 seconds."""
    tracker, spent = Tracker(), []
    for index, found in enumerate(drifting(seed, objects, missed=missed)):
        start = time.perf_counter()
        tracker.update(found, index / 30)
        spent.append(1e3 * (time.perf_counter() - start))
    return spent[_WARM_UP:]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=50)
    parser.add_argument("--missed", type=float, default=0.1, help="share of the boxes that are not found")
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args()
    ms = np.concatenate([milliseconds(seed, given.objects, given.missed) for seed in range(given.seeds)])
    figures = ", ".join(f"{name} {value:.3f}" for name, value in statistics(ms).items())
    print(f"{given.objects} moving objects, {100 * given.missed:.0f} % missed, {len(ms)} updates, ms: {figures}")
    print(f"on {cpu_name()}, NumPy {np.__version__}")


if __name__ == "__main__":
    main()
