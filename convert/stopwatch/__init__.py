"""Stopwatches: how long inferences of model files take, on this machine or on a board."""

from __future__ import annotations

from convert.stopwatch.device import DeviceStopwatch
from convert.stopwatch.local import LocalStopwatch, time_files
from convert.stopwatch.timing import Stopwatch, Timing

__all__ = ["DeviceStopwatch", "LocalStopwatch", "Stopwatch", "Timing", "time_files"]
