"""Overlap of boxes, and suppression of those that find the same thing."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# Pixels between the classes: wider than any box of use, and doubles still tell a millionth of a pixel there.
_FAR_APART = 1e6
_SOFT_SIGMA = 0.5
_MOVES = np.outer(np.arange(256), (-_FAR_APART, 0))


def iou_matrix(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Intersection over union of every box with every other.

    Args:
        first: ``(n, 4)`` float32, ``x1, y1, x2, y2`` with ``x1 <= x2`` and ``y1 <= y2``.
        second: ``(m, 4)``, the same.

    Returns:
        ``(n, m)`` float32 in 0..1; 0 where both boxes are empty.
    """
    x1, y1, x2, y2 = np.ascontiguousarray(first.T)[:, :, None]
    u1, v1, u2, v2 = np.ascontiguousarray(second.T)
    width = np.minimum(x2, u2) - np.maximum(x1, u1)
    height = np.minimum(y2, v2) - np.maximum(y1, v1)
    overlap = np.maximum(width, 0) * np.maximum(height, 0)
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - overlap
    matrix: npt.NDArray[np.float32] = overlap / np.maximum(union, np.finfo(np.float32).tiny)
    return matrix


def class_wise_nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    class_ids: npt.NDArray[np.int32],
    iou_threshold: float,
    limit: int,
    candidates: int = 1000,
) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression within each class.

    A box is dropped when a kept box of its class with a higher score overlaps it by more than ``iou_threshold``. One
    call of OpenCV's does it: after a network has filled the caches with its weights, a handful of NumPy calls cost
    more than the arithmetic in them.

    Args:
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2``, each with an area.
        scores: ``(n,)`` float32 above 0; a box with 0 is dropped.
        class_ids: ``(n,)`` integers.
        iou_threshold: Overlap (0..1) above which the worse box goes.
        limit: Most boxes to return.
        candidates: Only this many best boxes are looked at.

    Returns:
        Indices of the kept boxes, best first; equal scores keep their order.
    """
    if len(scores) < 2:
        return np.arange(len(scores))
    greedy: Any = cv2.dnn.NMSBoxes  # Declared for lists; it takes arrays as well, and faster.
    rectangles = _apart(boxes, class_ids)
    most = min(len(scores), candidates)
    # What the best ones keep does not depend on the rest, and the work grows with the square of what is kept.
    looked_at = limit + limit // 4
    while True:
        kept = greedy(rectangles, scores, 0.0, iou_threshold, 1.0, min(looked_at, most))
        if len(kept) >= limit or looked_at >= most:
            return np.asarray(kept[:limit], np.intp)
        looked_at *= 2


def soft_nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    class_ids: npt.NDArray[np.int32],
    score: float,
    limit: int,
    candidates: int = 300,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Soft suppression within each class: an overlapped box loses score instead of going (arXiv:1704.04503).

    Each time the best box left is kept, the scores of the others of its class are multiplied by
    ``exp(-iou ** 2 / 0.5)``, the paper's Gaussian with its sigma. It helps where things stand close together.

    Args:
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2``.
        scores: ``(n,)`` float32, 0..1.
        class_ids: ``(n,)`` integers.
        score: Boxes whose score falls below this are dropped, 0..1.
        limit: Most boxes to return.
        candidates: Only this many best boxes are looked at; the work grows with its square.

    Returns:
        Indices of the kept boxes, best first, and their new scores ``(n,)`` float32.
    """
    best = np.argsort(-scores, kind="stable")[:candidates]
    together = class_ids.take(best)
    decay = np.exp(np.square(iou_matrix(*[boxes.take(best, axis=0)] * 2)) / -_SOFT_SIGMA)
    decay[together[:, None] != together] = 1
    left = scores.take(best)
    kept: list[int] = []
    lowered: list[float] = []
    while len(kept) < limit and len(left):
        at = int(left.argmax())
        if left[at] < score or left[at] <= 0:
            break
        kept.append(best[at])
        lowered.append(left[at])
        left *= decay[at]
        left[at] = 0
    return np.array(kept, np.intp), np.array(lowered, np.float32)


def _apart(boxes: npt.NDArray[np.float32], class_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """``(n, 4)`` corner and size of each box, those of different classes moved so far apart that none overlap."""
    rectangles = boxes.astype(np.float64)
    rectangles[:, 2:] -= rectangles[:, :2]
    rectangles[:, :2] -= _moves(class_ids)
    return rectangles


def _moves(class_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """``(n, 2)``: how far each class is moved, out of a table where that reaches."""
    try:
        return _MOVES.take(class_ids, axis=0)
    except IndexError:
        return np.outer(class_ids, (-_FAR_APART, 0))
