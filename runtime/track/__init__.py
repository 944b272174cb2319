"""Tracks: which detections of successive frames are the same object, and where it is in between."""

from __future__ import annotations

from runtime.track.options import TrackOptions
from runtime.track.tracked import Tracked, TrackState
from runtime.track.tracker import Tracker

__all__ = ["TrackOptions", "TrackState", "Tracked", "Tracker"]
