"""A moment as one picture: boxes, lines and zones with their counts, and how the session is doing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from apps.moment import Count, Moment
from runtime.draw import annotate

Canvas = npt.NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_DUPLEX
_SHAPE = (80, 220, 255)  # blue, green, red
_PAD = 3
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def paint(moment: Moment, shapes: Sequence[Mapping[str, Any]]) -> Canvas:
    """The picture of a moment with all that is known about it.

    Args:
        moment: What to draw.
        shapes: Lines and zones, each with ``name``, ``kind`` and ``points`` in 0..1.

    Returns:
        ``(h, w, 3)`` uint8, blue, green, red.
    """
    canvas = annotate(moment.frame, moment.found, moment.labels)
    unit = _unit(canvas)
    counts = {count.name: count for count in moment.counts}
    for shape in shapes:
        _paint_shape(canvas, shape, counts.get(shape["name"]), unit)
    figures = moment.figures
    text = f"{figures.fps:.1f} frames/s, {figures.latency_ms:.0f} ms"
    _write(canvas, text, (round(4 * unit), canvas.shape[0] - round(6 * unit)), 0.45 * unit)
    if figures.notices:
        _write(canvas, figures.notices[-1], (round(4 * unit), round(14 * unit)), 0.45 * unit)
    return canvas


def paint_notice(canvas: Canvas, text: str) -> Canvas:
    """A copy of a picture, darker, with a sentence on it."""
    dark = np.asarray(canvas // 2, np.uint8)
    unit = _unit(dark)
    _write(dark, text, (round(12 * unit), dark.shape[0] // 2), 0.5 * unit)
    return dark


def _paint_shape(canvas: Canvas, shape: Mapping[str, Any], count: Count | None, unit: float) -> None:
    height, width = canvas.shape[:2]
    points = [(round(x * width), round(y * height)) for x, y in shape["points"]]
    closed = shape["kind"] == "zone"
    cv2.polylines(canvas, [np.array(points, np.int32)], closed, _SHAPE, max(2, round(2 * unit)), cv2.LINE_AA)
    text = str(shape["name"])
    if count and closed:
        text += f": {sum(count.inside.values())} inside, {sum(count.into.values())} entered"
    elif count:
        text += f": {sum(count.into.values())} in, {sum(count.out.values())} out"
    x, y = min(points, key=lambda point: point[1])
    _write(canvas, text, (x + round(6 * unit), y + round(16 * unit)), 0.45 * unit)


def _write(canvas: Canvas, text: str, place: tuple[int, int], scale: float) -> None:
    """White on black, pushed to where all of it can be seen, smaller where it is too long for the picture."""
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    room = canvas.shape[1] - 2 * _PAD
    if width > room:
        scale *= max(0.5, room / width)
        (width, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    x = max(_PAD, min(place[0], canvas.shape[1] - width - _PAD))
    y = max(height + _PAD, min(place[1], canvas.shape[0] - baseline - _PAD))
    cv2.rectangle(canvas, (x - _PAD, y - height - _PAD), (x + width + _PAD, y + baseline), _BLACK, cv2.FILLED)
    cv2.putText(canvas, text, (x, y), _FONT, scale, _WHITE, 1, cv2.LINE_AA)


def _unit(canvas: Canvas) -> float:
    return float(max(1.0, min(canvas.shape[:2]) / 480))
