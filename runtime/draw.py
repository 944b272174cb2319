"""Boxes and labels on a picture."""

from __future__ import annotations

import colorsys
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.frame import Frame

_FONT = cv2.FONT_HERSHEY_DUPLEX
# Golden-ratio steps around the colour circle keep neighbouring classes far apart.
_HUE_STEP = 0.61803398875


@cache
def class_color(class_id: int) -> tuple[int, int, int]:
    """A bright colour for a class, as blue, green, red in 0..255; the web page computes the same one."""
    red, green, blue = colorsys.hsv_to_rgb((0.33 + class_id * _HUE_STEP) % 1.0, 0.75, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def bgr(frame: Frame) -> npt.NDArray[np.uint8]:
    """The picture's pixels in OpenCV's order; not a copy when they are so already."""
    if frame.color == "bgr":
        return frame.pixels
    return np.asarray(cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR), np.uint8)


def annotate(frame: Frame, found: Detections, labels: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """A copy of the picture with every detection drawn on it.

    Args:
        frame: The picture.
        found: Boxes in its pixels.
        labels: Class names by class index.

    Returns:
        ``(h, w, 3)`` uint8, blue, green, red.
    """
    canvas = bgr(frame).copy()
    # Line and text grow with the picture, so that a 4K frame is as readable as a thumbnail.
    unit = max(1.0, min(frame.width, frame.height) / 480)
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
    for box, score, class_id in reversed(list(rows)):
        _draw_box(canvas, box, f"{labels[class_id]} {score:.2f}", class_color(class_id), unit)
    return canvas


def _draw_box(
    canvas: npt.NDArray[np.uint8], box: list[float], text: str, color: tuple[int, int, int], unit: float
) -> None:
    x1, y1, x2, y2 = (round(value) for value in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), color, max(2, round(2 * unit)), cv2.LINE_AA)
    scale = 0.45 * unit
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    pad = round(3 * unit)
    left = max(0, min(x1, canvas.shape[1] - width - 2 * pad))
    # Above the box where there is room, else inside its upper edge.
    top = y1 - height - baseline - pad if y1 - height - baseline - pad >= 0 else y1
    corner = (left + width + 2 * pad, top + height + baseline + pad)
    cv2.rectangle(canvas, (left, top), corner, color, cv2.FILLED)
    black_or_white = (0, 0, 0) if 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 110 else (255, 255, 255)
    cv2.putText(canvas, text, (left + pad, top + height + pad // 2), _FONT, scale, black_or_white, 1, cv2.LINE_AA)
