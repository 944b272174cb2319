"""The device side: runs model files on a Raspberry Pi and other boards. Needs NumPy, OpenCV and a TFLite runtime.

>>> from runtime import Detector
>>> with Detector.open("build/models/yolo-fastest-1.1.tflite") as detector:   # doctest: +SKIP
...     found = detector.detect(cv2.imread("dog.jpg"))                        # doctest: +SKIP

Names are imported when first used: a program that only reads a card should not wait for OpenCV.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.card import ModelCard
    from runtime.classifier import Classification, Classifier
    from runtime.detections import Detections
    from runtime.detector import Detector
    from runtime.errors import BudgetError, EdgewrenError, InputError, RunError
    from runtime.frame import Frame
    from runtime.pipeline import Pipeline
    from runtime.sources import open_source
    from runtime.track import Tracked, Tracker, TrackOptions, TrackState

# OpenCV and FFmpeg print a line for every damaged packet or picture; here each failure is one error line of our own.
# Read once, when OpenCV is first imported, so this has to come before.
os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_HOMES = {
    "BudgetError": "runtime.errors",
    "Classification": "runtime.classifier",
    "Classifier": "runtime.classifier",
    "Detections": "runtime.detections",
    "Detector": "runtime.detector",
    "EdgewrenError": "runtime.errors",
    "Frame": "runtime.frame",
    "InputError": "runtime.errors",
    "ModelCard": "runtime.card",
    "Pipeline": "runtime.pipeline",
    "RunError": "runtime.errors",
    "TrackOptions": "runtime.track",
    "TrackState": "runtime.track",
    "Tracked": "runtime.track",
    "Tracker": "runtime.track",
    "open_source": "runtime.sources",
}

__all__ = [
    "BudgetError",
    "Classification",
    "Classifier",
    "Detections",
    "Detector",
    "EdgewrenError",
    "Frame",
    "InputError",
    "ModelCard",
    "Pipeline",
    "RunError",
    "TrackOptions",
    "TrackState",
    "Tracked",
    "Tracker",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
