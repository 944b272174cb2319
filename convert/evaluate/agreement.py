"""How far two networks find the same objects; needs no labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convert.evaluate.detection import Prediction
from runtime.detections import Detections
from runtime.nms import iou_matrix

MIN_SCORE = 0.25
MIN_IOU = 0.5


def agreement_f1(predictions: Sequence[Prediction], reference: Sequence[Prediction]) -> float:
    """F1 of detections against a reference's, in percent.

    Counted are detections with a score of at least 0.25 on either side. Two agree when they have the same class and
    overlap with IoU of at least 0.5; each counts once, best scores choose first.

    Args:
        predictions: One per picture.
        reference: One per picture, same order.

    Returns:
        ``2 * agreed / (found + found by the reference)``; 100 when neither found anything.
    """
    agreed = total = 0
    for mine, theirs in zip(predictions, reference, strict=True):
        ours, other = _confident(mine.found), _confident(theirs.found)
        agreed += _matches(ours, other)
        total += len(ours) + len(other)
    return 100 * 2 * agreed / total if total else 100.0


def _confident(found: Detections) -> Detections:
    keep = found.scores >= MIN_SCORE
    return Detections(found.boxes[keep], found.scores[keep], found.class_ids[keep])


def _matches(ours: Detections, other: Detections) -> int:
    if not len(ours) or not len(other):
        return 0
    overlap = iou_matrix(ours.boxes, other.boxes)
    overlap[ours.class_ids[:, None] != other.class_ids] = 0
    count = 0
    for row in np.argsort(-ours.scores, kind="stable"):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= MIN_IOU:
            overlap[:, best] = 0
            count += 1
    return count
