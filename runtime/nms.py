"""Non-maximum suppression without a loop over boxes."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt


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

    A box is dropped when a kept box of its class with a higher score overlaps it by more than ``iou_threshold``. The
    greedy result is reached without a loop over boxes: start by keeping all, then keep exactly those that no kept box
    suppresses, until nothing changes. Suppression only points from better to worse boxes, so the answer settles from
    the best box downwards and is the greedy one (Zheng et al., "Enhancing Geometric Factors", arXiv:2005.03572,
    section 3.3); the rounds needed are the length of the longest chain of suppressions, usually 2 to 4.

    Args:
        boxes: ``(n, 4)`` float32, ``x1, y1, x2, y2``.
        scores: ``(n,)`` float32.
        class_ids: ``(n,)`` integers.
        iou_threshold: Overlap (0..1) above which the worse box goes.
        limit: Most boxes to return.
        candidates: Only this many best boxes are looked at.

    Returns:
        Indices of the kept boxes, best first; equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")[:candidates]
    if len(order) > 1:
        best, ids = boxes.take(order, axis=0), class_ids.take(order)
        suppresses = iou_matrix(best, best) > iou_threshold
        suppresses &= ids[:, None] == ids
        suppresses &= _upper_triangle(len(order))
        if suppresses.any():
            order = order[_settle(suppresses)]
    return order[:limit]


def _settle(suppresses: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which boxes stay, given which better box suppresses which worse one."""
    keep: npt.NDArray[np.bool_] = np.logical_not(np.any(suppresses, axis=0))
    while True:
        settled = np.logical_not(np.any(suppresses[keep], axis=0))
        if np.array_equal(settled, keep):
            return keep
        keep = settled


def _upper_triangle(size: int) -> npt.NDArray[np.bool_]:
    """True above the diagonal: a box may only be suppressed by a better one."""
    return _triangle_of(max(16, 1 << (size - 1).bit_length()))[:size, :size]


@cache
def _triangle_of(size: int) -> npt.NDArray[np.bool_]:
    return np.triu(np.ones((size, size), np.bool_), 1)
