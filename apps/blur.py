"""Objects made unrecognisable before a picture leaves the process."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import cv2
import numpy as np
import numpy.typing as npt

from runtime.detections import Detections
from runtime.errors import InputError
from runtime.frame import Frame

# Blocks along the longer side of an object: a face of so few is nobody's, and averages cannot be computed back.
_BLOCKS = 6


class Blur:
    """Replaces the objects of some classes by a handful of large blocks.

    What is not found is not hidden. So pass all that is known of a frame: detections below the shown score and tracks
    that are lost for the moment as well as what is shown.

    Args:
        labels: Class names by class index.
        names: Names of the classes to hide.
        margin: How far around its box an object is hidden, as a share of the box's width and height on each side.

    Raises:
        InputError: The model has no class of such a name.
    """

    def __init__(self, labels: tuple[str, ...], names: Collection[str], margin: float = 0.15) -> None:
        for name in names:
            if name not in labels:
                known = ", ".join(labels[:8]) + (", .." if len(labels) > 8 else "")
                raise InputError(f"the model has no class {name!r} to blur", f"expected one of {known}")
        self._hidden = np.array([label in names for label in labels], np.bool_)
        self._margin = margin

    def apply(self, frame: Frame, found: Detections) -> Frame:
        """Hides what must be hidden.

        Args:
            frame: The picture; it is left as it is.
            found: What is in it; boxes may reach out of the picture.

        Returns:
            A frame with pixels of its own, or the frame itself when nothing in it is to be hidden.
        """
        boxes = found.boxes[self._hidden[found.class_ids]]
        if not len(boxes):
            return frame
        pixels = frame.pixels.copy()
        for left, top, right, bottom in self._corners(boxes, frame.width, frame.height):
            _pixelate(pixels[top:bottom, left:right])
        return dataclasses.replace(frame, pixels=pixels, small=None)

    def _corners(self, boxes: npt.NDArray[np.float32], width: int, height: int) -> list[list[int]]:
        """Whole pixels of the enlarged boxes, those that lie in the picture."""
        grown = (boxes[:, 2:] - boxes[:, :2]) * np.float32(self._margin)
        low = np.clip(np.floor(boxes[:, :2] - grown), 0, (width, height))
        high = np.clip(np.ceil(boxes[:, 2:] + grown), 0, (width, height))
        corners = np.concatenate([low, high], axis=1).astype(np.int64)
        kept: list[list[int]] = corners[(high > low).all(axis=1)].tolist()
        return kept


def _pixelate(region: npt.NDArray[np.uint8]) -> None:
    """Averages a part of a picture ``(h, w, 3)`` over blocks, in place."""
    height, width = region.shape[:2]
    block = max(1.0, max(height, width) / _BLOCKS)
    small = max(1, round(width / block)), max(1, round(height / block))
    averaged = cv2.resize(region, small, interpolation=cv2.INTER_AREA)
    region[:] = cv2.resize(averaged, (width, height), interpolation=cv2.INTER_NEAREST)
