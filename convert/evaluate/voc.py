"""Pascal VOC's average precision, in the 11-point form of 2007 and the all-point form of 2010 and later.

Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010, section 4.2, and ``VOCevaldet.m`` of its
development kit (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html). What differs from COCO's AP50:

- A detection is compared with the object it overlaps most, whether that one is free or not. The second detection of
  an object is wrong, even where another object of the class overlaps it enough.
- ``difficult`` objects need not be found, and finding them is neither right nor wrong.
- Precision is integrated over all recalls, or averaged over eleven; COCO averages over 101.

Boxes here have edges: ``x2 - x1`` is the width. The kit counts pixels, ``x2 - x1 + 1``; ``inclusive`` does so too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.evaluate.detection import PixelTruth
from runtime.detections import Detections
from runtime.nms import iou_matrix


@dataclass(frozen=True)
class VocScore:
    """AP in percent, averaged over the classes that occur; ``None`` where there is no object to find.

    Attributes:
        ap_11: The 11-point form.
        ap_all: The all-point form.
        per_class: ``(ap_11, ap_all)`` of each class that occurs, by class index.
    """

    ap_11: float | None
    ap_all: float | None
    per_class: dict[int, tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """Precision over recall of one class.

    Attributes:
        hits: ``(n,)`` bool, whether each detection is right; best score first, without those that do not count.
        objects: Objects to find, at least 1.
    """

    hits: npt.NDArray[np.bool_]
    objects: int

    def eleven_point(self) -> float:
        """Mean over the recalls 0, 0.1, .. 1 of the best precision at that recall or a higher one, in percent."""
        right, best = self._right(), self._best_from_here_on()
        # Whole numbers: 3 of 10 is the recall 0.3, whatever floats make of it.
        firsts = [int(np.searchsorted(10 * right, tenth * self.objects)) for tenth in range(11)]
        return 100 * sum(float(best[first]) for first in firsts if first < len(best)) / 11

    def all_points(self) -> float:
        """Area under the best precision at each recall or a higher one, in percent."""
        return 100 * float(self._best_from_here_on()[self.hits].sum()) / self.objects

    def _right(self) -> npt.NDArray[np.int64]:
        return np.cumsum(self.hits, dtype=np.int64)

    def _best_from_here_on(self) -> npt.NDArray[np.float64]:
        precision = self._right() / np.arange(1, len(self.hits) + 1)
        best: npt.NDArray[np.float64] = np.maximum.accumulate(precision[::-1])[::-1]
        return best


def voc_score(
    found: Sequence[Detections], truths: Sequence[PixelTruth], min_iou: float = 0.5, inclusive: bool = False
) -> VocScore:
    """Pascal VOC's AP of all classes.

    Equal scores are taken in the order of the pictures, and within a picture in the order given; among them the
    order is arbitrary, and moves the figure a little, in the kit as well.

    Args:
        found: One per picture.
        truths: One per picture, same order.
        min_iou: Least overlap (0..1) that counts as found.
        inclusive: Count pixels as the kit does, a box reaching over its last one; by default corners are edges.
    """
    classes = sorted({int(number) for truth in truths for number in truth.class_ids[~truth.difficult]})
    curves = {number: class_curve(found, truths, number, min_iou, inclusive) for number in classes}
    per_class = {number: (curve.eleven_point(), curve.all_points()) for number, curve in curves.items()}
    if not per_class:
        return VocScore(None, None, {})
    ap_11, ap_all = (float(value) for value in np.mean(list(per_class.values()), axis=0))
    return VocScore(ap_11, ap_all, per_class)


def class_curve(
    found: Sequence[Detections], truths: Sequence[PixelTruth], class_id: int, min_iou: float, inclusive: bool
) -> Curve:
    """Matches one class's detections, best score first, over all pictures; arguments as for :func:`voc_score`."""
    scores: list[npt.NDArray[np.float32]] = []
    hits: list[npt.NDArray[np.bool_]] = []
    objects = 0
    for detections, truth in zip(found, truths, strict=True):
        there = truth.class_ids == class_id
        mine = np.flatnonzero(detections.class_ids == class_id)
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")]
        difficult = truth.difficult[there]
        right, counted = _match(detections.boxes[mine], truth.boxes[there], difficult, min_iou, inclusive)
        objects += int(np.count_nonzero(~difficult))
        scores.append(detections.scores[mine][counted])
        hits.append(right[counted])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Curve(np.concatenate(hits)[order], objects)


def _match(
    boxes: npt.NDArray[np.float32],
    truth: npt.NDArray[np.float64],
    difficult: npt.NDArray[np.bool_],
    min_iou: float,
    inclusive: bool,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which boxes of one picture (best first) are right, and which count."""
    hits, counted = np.zeros(len(boxes), np.bool_), np.ones(len(boxes), np.bool_)
    if not len(boxes) or not len(truth):
        return hits, counted
    reach = np.array([0, 0, 1, 1] if inclusive else [0, 0, 0, 0], np.float32)
    overlap = iou_matrix(boxes + reach, truth.astype(np.float32) + reach)
    best = overlap.argmax(axis=1)
    enough = overlap.max(axis=1) >= min_iou
    counted[enough & difficult[best]] = False
    candidates = np.flatnonzero(enough & counted)
    # The first, and so the best, detection of each object.
    hits[candidates[np.unique(best[candidates], return_index=True)[1]]] = True
    return hits, counted
