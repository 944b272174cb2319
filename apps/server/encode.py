"""A moment as the bytes that viewers get."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from apps.moment import Figures, Moment
from runtime.draw import annotate, bgr

_QUALITY = 80
_WIDTH = 1280
_SMALL = 640


def message(facts: bytes, moment: Moment | None, small: bool) -> bytes:
    """What a page's socket sends: length of the JSON (4 bytes, big-endian), the JSON, the plain JPEG.

    Args:
        facts: The JSON.
        moment: The picture's; ``None`` when there are figures alone.
        small: At most 640 pixels wide instead of 1280.
    """
    picture = jpeg(_shrunk(bgr(moment.frame), _SMALL if small else _WIDTH)) if moment else b""
    return struct.pack(">I", len(facts)) + facts + picture


def drawn(moment: Moment) -> bytes:
    """The picture as JPEG with its boxes on it."""
    return jpeg(annotate(moment.frame, moment.found, moment.labels))


def facts(moment: Moment | None, figures: Figures, more: dict[str, Any]) -> bytes:
    """The JSON of a message.

    Args:
        moment: The picture's; ``None`` when there are figures alone.
        figures: How the session is doing.
        more: Further keys.
    """
    document: dict[str, Any] = {"figures": asdict(figures), **more}
    if moment:
        document |= moment.found.to_dict(moment.frame, moment.labels)
        # Where a picture came from is nobody's business outside: it may be a path.
        del document["source"]
        document |= {"number": moment.number, "counts": [asdict(count) for count in moment.counts]}
    return json.dumps(document, ensure_ascii=False, default=plain).encode()


def plain(value: object) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain data")


def thumbnail(moment: Moment, box: tuple[float, float, float, float], side: int = 128) -> bytes:
    """An object with some room around it as a small JPEG; empty when its box is outside the picture.

    Args:
        moment: The picture's.
        box: ``x1, y1, x2, y2`` in pixels of the frame.
        side: Length of the longer side of the result at most.
    """
    pixels = bgr(moment.frame)
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = box
    reach = 0.6 * max(x2 - x1, y2 - y1, 16)
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = (max(0, int(value - reach)) for value in middle)
    right, bottom = min(width, int(middle[0] + reach)), min(height, int(middle[1] + reach))
    if right <= left or bottom <= top:
        return b""
    part = pixels[top:bottom, left:right]
    scale = min(1.0, side / max(part.shape[:2]))
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    return jpeg(np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8))


def jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The picture as JPEG."""
    good, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes() if good else b""


def _shrunk(pixels: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    if pixels.shape[1] <= width:
        return pixels
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
