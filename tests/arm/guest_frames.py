"""Detects in one picture again and again and marks the steps for ``counter.c``. Runs on the emulated core.

Usage: python guest_frames.py MODEL FRAME.npy COUNT. Marks 1 before a frame, 2 before and 3 after inference,
4 after all.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np

from runtime.detector import Detector

_mark = ctypes.CDLL(None).getpriority
_MARK = 0x4D4B


def main(model: str, frame: str, count: str) -> None:
    detector = Detector.open(Path(model), threads=1)
    invoke = detector.executor.invoke

    def marked() -> None:
        _mark(_MARK, 2)
        invoke()
        _mark(_MARK, 3)

    detector.executor.invoke = marked  # type: ignore[method-assign]
    pixels = np.load(frame)
    for _ in range(int(count)):
        _mark(_MARK, 1)
        detector.detect(pixels)
        _mark(_MARK, 4)


if __name__ == "__main__":
    main(*sys.argv[1:])
