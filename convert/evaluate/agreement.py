"""How far two networks find the same objects; needs no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from convert.evaluate.detection import Prediction
from runtime.detections import Detections
from runtime.errors import InputError
from runtime.nms import iou_matrix

MIN_SCORE = 0.25
MIN_IOU = 0.5


@dataclass(frozen=True)
class Agreement:
    """What two networks found in the same pictures.

    Attributes:
        agreed: ``(pictures,)`` int64, pairs of detections that agree.
        found: ``(pictures,)`` int64, detections of the network.
        reference: ``(pictures,)`` int64, detections of the reference.
        score_difference: Mean over agreeing pairs of the network's score minus the reference's, -1..1; ``None``
            where nothing agrees.
    """

    agreed: npt.NDArray[np.int64]
    found: npt.NDArray[np.int64]
    reference: npt.NDArray[np.int64]
    score_difference: float | None

    @property
    def f1(self) -> float:
        """``2 * agreed / (found + reference)`` over all pictures in percent; 100 when neither found anything."""
        return float(self.resampled_f1(np.ones((1, len(self.agreed)), np.int64))[0])

    def resampled_f1(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """F1 when pictures count several times.

        Args:
            counts: ``(draws, pictures)``, how often each counts.

        Returns:
            ``(draws,)`` in percent.
        """
        agreed, total = counts @ self.agreed, counts @ (self.found + self.reference)
        f1: npt.NDArray[np.float64] = np.where(total > 0, 200 * agreed / np.maximum(total, 1), 100.0)
        return f1


def agreement(predictions: Sequence[Prediction], reference: Sequence[Prediction]) -> Agreement:
    """Compares detections with a reference's.

    Counted are detections with a score of at least 0.25 on either side. Two agree when they have the same class and
    overlap with IoU of at least 0.5; each counts once, best scores choose first.

    Args:
        predictions: One per picture.
        reference: One per picture, same order, same class numbers.
    """
    agreed, found, other = [], [], []
    differences: list[float] = []
    for mine, theirs in zip(predictions, reference, strict=True):
        ours, expected = _confident(mine.found), _confident(theirs.found)
        pairs = _matches(ours, expected)
        agreed.append(len(pairs))
        found.append(len(ours))
        other.append(len(expected))
        differences += [float(ours.scores[row]) - float(expected.scores[column]) for row, column in pairs]
    return Agreement(
        np.array(agreed, np.int64),
        np.array(found, np.int64),
        np.array(other, np.int64),
        float(np.mean(differences)) if differences else None,
    )


def agreement_f1(predictions: Sequence[Prediction], reference: Sequence[Prediction]) -> float:
    """F1 of detections against a reference's, in percent; arguments as for :func:`agreement`."""
    return agreement(predictions, reference).f1


def renumbered(reference: Sequence[Prediction], theirs: tuple[str, ...], mine: tuple[str, ...]) -> Sequence[Prediction]:
    """A reference's detections in another network's class numbers, by name.

    Where the two have no name in common but as many classes, the names are taken for other words for the same things.
    A class that only the reference has gets a number that no class of the other network has.

    Args:
        reference: Its detections.
        theirs: Its class names.
        mine: The class names to count by.

    Raises:
        InputError: The two can have no class in common.
    """
    common = set(theirs) & set(mine)
    if theirs == mine or (not common and len(theirs) == len(mine)):
        return reference
    if not common:
        raise InputError(
            f"the reference has {len(theirs)} classes ({', '.join(theirs[:3])}, ..) and the model has {len(mine)} "
            f"({', '.join(mine[:3])}, ..), none of the same name",
            "expected networks with the same classes",
            "check --reference and --labels",
        )
    numbers = np.array(
        [mine.index(name) if name in common else len(mine) + number for number, name in enumerate(theirs)], np.int32
    )
    return [replace(one, found=replace(one.found, class_ids=numbers[one.found.class_ids])) for one in reference]


def _confident(found: Detections) -> Detections:
    keep = found.scores >= MIN_SCORE
    return Detections(found.boxes[keep], found.scores[keep], found.class_ids[keep])


def _matches(ours: Detections, other: Detections) -> list[tuple[int, int]]:
    if not len(ours) or not len(other):
        return []
    overlap = iou_matrix(ours.boxes, other.boxes)
    overlap[ours.class_ids[:, None] != other.class_ids] = 0
    pairs = []
    for row in np.argsort(-ours.scores, kind="stable"):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= MIN_IOU:
            overlap[:, best] = 0
            pairs.append((int(row), best))
    return pairs
