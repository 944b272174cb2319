"""Our tracker beside another ByteTrack, on the same detections: MOTA and IDF1 by motmetrics, and milliseconds.

Usage, from the top of the repository, with the Python of an environment that has ``trackers-requirements.txt``:
python -m tests.oracles.compare_trackers [--seeds N] [--first-seed N] [--rates 30,10]

The reference is ``trackers`` (Roboflow) or, where that is not installed, ``supervision``. It runs with its own defaults
and once more with our thresholds; detections have one class, since it knows none.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any

import motmetrics
import numpy as np
import supervision

from runtime.board import cpu_name
from runtime.detections import Detections
from runtime.nms import iou_matrix
from runtime.track import Tracker, TrackOptions
from tests.crowd import Truth, between, crowd, detected, drifting

Scene = list[tuple[Truth, Detections]]
Answer = tuple[np.ndarray, np.ndarray]  # ids and boxes of one frame
OPTIONS = TrackOptions()
_WARM_UP = 60  # frames


class Ours:
    """The tracker of this repository."""

    name = "edgewren"

    def __init__(self, fps: float) -> None:
        self._tracker = Tracker()

    def prepared(self, found: Detections) -> Any:
        return found

    def update(self, found: Any, seconds: float) -> Any:
        return self._tracker.update(found, seconds)

    def answer(self, result: Any) -> Answer:
        shown = result.confirmed()
        return shown.track_ids, shown.boxes


class Reference:
    """The other one; ``same`` gives it our thresholds."""

    def __init__(self, fps: float, same: bool = False) -> None:
        try:
            self._tracker, self._timed = _trackers(fps, same), True
        except ImportError:
            self._tracker, self._timed = _supervision(fps, same), False

    def prepared(self, found: Detections) -> Any:
        return supervision.Detections(xyxy=found.boxes, confidence=found.scores, class_id=found.class_ids)

    def update(self, found: Any, seconds: float) -> Any:
        if self._timed:
            return self._tracker.update(found, timestamp=seconds)
        return self._tracker.update_with_detections(found)

    def answer(self, result: Any) -> Answer:
        sure = result.tracker_id >= 0
        return result.tracker_id[sure], result.xyxy[sure]


def _trackers(fps: float, same: bool) -> Any:
    from trackers import ByteTrackTracker

    settings = {
        "track_activation_threshold": OPTIONS.high_score,
        "high_conf_det_threshold": OPTIONS.high_score,
        "minimum_iou_threshold": OPTIONS.match_iou,
        "minimum_consecutive_frames": OPTIONS.confirm,
        "lost_track_buffer": round(30 * OPTIONS.keep_lost),
    }
    return ByteTrackTracker(frame_rate=fps, **(settings if same else {}))


def _supervision(fps: float, same: bool) -> Any:
    settings = {
        # It starts tracks from 0.1 above this threshold.
        "track_activation_threshold": OPTIONS.high_score - 0.1,
        "minimum_matching_threshold": 1 - OPTIONS.match_iou,
        "lost_track_buffer": round(30 * OPTIONS.keep_lost),
    }
    return supervision.ByteTrack(frame_rate=round(fps), **(settings if same else {}))


def reference_name() -> str:
    try:
        return f"trackers {version('trackers')}"
    except ImportError:
        return f"supervision {version('supervision')}"


def accumulated(tracker: Ours | Reference, scene: Scene) -> Any:
    """What motmetrics counted; a box is right from an overlap of 0.5 on."""
    counts = motmetrics.MOTAccumulator(auto_id=True)
    for truth, found in scene:
        ids, boxes = tracker.answer(tracker.update(tracker.prepared(found), truth.seconds))
        apart = 1 - iou_matrix(truth.boxes, np.asarray(boxes, np.float32)).astype(np.float64)
        apart[apart > 0.5] = np.nan
        counts.update(truth.identities, ids, apart)
    return counts


def figures(make: Callable[[], Ours | Reference], scenes: Iterable[Scene]) -> str:
    counts = [accumulated(make(), scene) for scene in scenes]
    names = ["mota", "idf1", "num_switches", "num_false_positives", "num_misses"]
    table = motmetrics.metrics.create().compute_many(
        counts, metrics=names, names=[str(i) for i in range(len(counts))], generate_overall=True
    )
    mota, idf1, *rest = (float(table.loc["OVERALL"][name]) for name in names)
    return f"{100 * mota:6.2f} {100 * idf1:6.2f}  " + " ".join(f"{value:8.0f}" for value in rest)


def compare_accuracy(seeds: range, rates: Iterable[float]) -> None:
    print(f"{len(seeds)} scenes of 30 s, 20 cards, seeds from {seeds[0]}")
    for fps in rates:
        scenes = [list(detected(crowd(seed, fps=fps), seed)) for seed in seeds]
        print(f"\n{fps:g} frames/s{'':16}   MOTA   IDF1  switches    false   missed")
        for name, make in (
            ("edgewren", lambda fps=fps: Ours(fps)),
            (reference_name(), lambda fps=fps: Reference(fps)),
            ("  with our thresholds", lambda fps=fps: Reference(fps, same=True)),
        ):
            print(f"{name:<25} {figures(make, scenes)}", flush=True)


def seconds_of(trackers: list[Ours | Reference], scene: Iterator[Detections]) -> np.ndarray:
    """``(frames, trackers)``, all on one frame before the next."""
    spent = []
    for index, found in enumerate(scene):
        row = []
        for tracker in trackers:
            given = tracker.prepared(found)
            start = time.perf_counter()
            tracker.update(given, index / 30)
            row.append(time.perf_counter() - start)
        spent.append(row)
    return np.array(spent[_WARM_UP:])


def compare_speed(seeds: range) -> None:
    spent = np.concatenate([seconds_of([Ours(30), Reference(30)], drifting(seed)) for seed in seeds])
    print("\nms per update, 50 objects, 10 % missed, in turn:   min  median")
    for at, name in enumerate(("edgewren", reference_name())):
        print(f"{name:<48} {1e3 * spent[:, at].min():6.3f} {1e3 * np.median(spent[:, at]):6.3f}")
    print(
        f"edgewren takes {100 * np.median(spent[:, 0] / spent[:, 1]):.0f} % of the time (median of each frame's share)"
    )
    print(f"on {cpu_name()}, NumPy {np.__version__}")


def compare_between(seeds: range) -> None:
    print("\nmean overlap with the truth in frames at 30/s that were not looked at")
    print("network at    predicted   last boxes")
    for every in (2, 3, 6):
        rows = [between(detected(crowd(seed), seed), every) for seed in seeds]
        predicted, held = np.mean(rows, axis=0)
        print(f"{30 // every:>6} /s {predicted:14.3f} {held:12.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--rates", default="30,10")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    compare_accuracy(seeds, [float(rate) for rate in given.rates.split(",")])
    compare_between(seeds)
    compare_speed(seeds)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    motmetrics.lap.default_solver = "scipy"
    main()
