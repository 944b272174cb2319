"""What a detector should answer: annotated boxes laid onto anchors.

The matching is SSD's (Liu et al., arXiv:1512.02325, section 2.2): an anchor answers for the object it overlaps best if
the overlap is large enough, and every object keeps the anchors that fit it best however small the overlap. Anchors in
between are asked for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.card import HeadSpec
from runtime.nms import iou_matrix

Floats = npt.NDArray[np.float32]

# Class entries of anchors that answer for no object.
EMPTY, IGNORED = -1, -2
# Numbers per anchor in a target: the object's corners, its class.
TARGET_SIZE = 5


@dataclass(frozen=True)
class Matching:
    """How much overlap decides.

    Attributes:
        positive: IoU from which an anchor answers for an object.
        negative: IoU below which it answers "nothing".
        at_least: Anchors every object gets, best first, as long as they overlap it at all (SSD gives one).
    """

    positive: float = 0.5
    negative: float = 0.4
    at_least: int = 1


def anchor_boxes(heads: Sequence[HeadSpec], width: int, height: int) -> Floats:
    """All anchors in the order of the raw tensors: head, row, column, anchor.

    Args:
        heads: Scales with their strides and anchors.
        width: Input pixels per row.
        height: Input rows.

    Returns:
        ``(n, 4)``: centre x, centre y, width, height in pixels; cells divide the picture evenly.
    """
    parts = []
    for head in heads:
        rows, columns = -(-height // head.stride), -(-width // head.stride)
        y, x, which = np.meshgrid(np.arange(rows), np.arange(columns), np.arange(len(head.anchors)), indexing="ij")
        centres = np.stack([(x + 0.5) * width / columns, (y + 0.5) * height / rows], axis=-1)
        sizes = np.array(head.anchors, np.float64)[which]
        parts.append(np.concatenate([centres, sizes], axis=-1).reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)


def corners(centred: Floats) -> Floats:
    """Centre and size to ``x1, y1, x2, y2``."""
    half = centred[:, 2:] / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)


def make_targets(
    anchors: Floats, boxes: Floats, class_ids: npt.NDArray[np.int32], ignored: npt.NDArray[np.bool_], how: Matching
) -> Floats:
    """Targets of one picture.

    Args:
        anchors: ``(n, 4)`` from :func:`anchor_boxes`.
        boxes: ``(m, 4)`` objects, corners in pixels.
        class_ids: ``(m,)`` class indices.
        ignored: ``(m,)``; anchors that would answer for such an object are asked for nothing.
        how: Overlaps.

    Returns:
        ``(n, 5)`` float32: corners of the object, then its class, ``EMPTY`` or ``IGNORED``.
    """
    targets = np.zeros((len(anchors), TARGET_SIZE), np.float32)
    targets[:, 4] = EMPTY
    if not len(boxes):
        return targets
    overlap = iou_matrix(corners(anchors), boxes)
    owner = overlap.argmax(axis=1)
    best = overlap[np.arange(len(anchors)), owner]
    _grant(overlap, owner, best, how)
    targets[best >= how.negative, 4] = IGNORED
    positive = best >= how.positive
    targets[positive, :4] = boxes[owner[positive]]
    targets[positive, 4] = np.where(ignored[owner[positive]], IGNORED, class_ids[owner[positive]])
    return targets


def _grant(overlap: Floats, owner: npt.NDArray[np.intp], best: Floats, how: Matching) -> None:
    """Gives every object its best anchor, and more of them where no other object has a claim by overlap.

    In each round the best fit of all chooses first, and an object whose anchor went to a better fit takes its next.
    """
    room = overlap.copy()
    for number in range(how.at_least):
        claimed = best >= how.positive
        left = room.copy()
        if number:
            room[claimed] = left[claimed] = 0
            left[:, np.bincount(owner[claimed], minlength=left.shape[1]) >= how.at_least] = 0
        while left[place := np.unravel_index(left.argmax(), left.shape)] > 0:
            anchor, index = place
            owner[anchor], best[anchor] = index, how.positive
            left[anchor], left[:, index] = 0, 0
