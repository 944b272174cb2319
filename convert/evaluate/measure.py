"""All figures of a detector on a folder of pictures, and of two detectors side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convert.data import Dataset
from convert.evaluate.agreement import MIN_SCORE, Agreement, agreement, renumbered
from convert.evaluate.bootstrap import Figures, Interval, draw, interval, resampled_precision
from convert.evaluate.detection import ClassMatches, CocoMatching, DetectionScore, Prediction, pixel_truths
from convert.evaluate.voc import VocScore, voc_score


@dataclass(frozen=True)
class Measured:
    """One detector.

    Attributes:
        labels: Its class names.
        predictions: What it found, one per picture.
        matches: Which of them are right, by class.
        score: COCO's figures.
        voc: Pascal VOC's figures.
        confident: Detections with a score of at least 0.25.
    """

    labels: tuple[str, ...]
    predictions: Sequence[Prediction]
    matches: tuple[ClassMatches, ...]
    score: DetectionScore
    voc: VocScore
    confident: int


@dataclass(frozen=True)
class Difference:
    """Model minus reference in percentage points, ``None`` where AP is; and its 95 % interval."""

    points: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """A detector beside its reference on the same pictures."""

    agreement: Agreement
    agreement_interval: Interval | None
    map50: Difference
    map50_95: Difference


def measure(
    predictions: Sequence[Prediction], dataset: Dataset, labels: tuple[str, ...], voc_iou: float = 0.5
) -> Measured:
    """Measures what a detector found.

    Args:
        predictions: One per picture of ``dataset``, in its order.
        dataset: The truth; where it has no object, all AP are ``None``.
        labels: The detector's class names.
        voc_iou: Least overlap (0..1) for Pascal VOC's AP.

    Raises:
        InputError: The data set and the detector have not one class in common.
    """
    matching = CocoMatching(predictions, dataset, labels)
    voc = voc_score([one.found for one in predictions], pixel_truths(predictions, dataset, labels), voc_iou)
    confident = sum(int(np.count_nonzero(one.found.scores >= MIN_SCORE)) for one in predictions)
    return Measured(labels, predictions, matching.matches(), matching.score(), voc, confident)


def compare(model: Measured, reference: Measured) -> Comparison:
    """Compares a detector with a reference, both measured on the same pictures.

    Raises:
        InputError: They have no class in common.
    """
    pictures = len(model.predictions)
    counts = draw(pictures)
    theirs = renumbered(reference.predictions, reference.labels, model.labels)
    together = agreement(model.predictions, theirs)
    mine, other = resampled_precision(model.matches, counts), resampled_precision(reference.matches, counts)
    return Comparison(
        together,
        interval(together.resampled_f1(counts), pictures),
        _difference(model.score.map50, reference.score.map50, mine.map50 - other.map50, pictures),
        _difference(model.score.map50_95, reference.score.map50_95, mine.map50_95 - other.map50_95, pictures),
    )


def _difference(mine: float | None, other: float | None, resampled: Figures, pictures: int) -> Difference:
    points = None if mine is None or other is None else mine - other
    return Difference(points, interval(resampled, pictures))
