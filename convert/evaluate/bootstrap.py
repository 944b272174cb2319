"""How sure a figure is, seen from the pictures it was measured on: the paired bootstrap.

The pictures are drawn again, as many as there are, with replacement, a thousand times. Two networks are measured on the
same draw each time, so that a hard picture is hard for both, and the differences spread less than the figures
themselves. The interval is the middle 95 % (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13).

Detections are matched with the truth picture by picture, so a draw changes no match; it only says how often each
picture counts. That is why a thousand of them take a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.evaluate.detection import ClassMatches

RESAMPLES = 1000
SEED = 0

# pycocotools' recalls.
_RECALLS = np.linspace(0, 1, 101)
# Numbers held at once; keeps large data sets within tens of megabytes.
_AT_ONCE = 2_000_000

Counts = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The middle 95 % of what the draws gave, in the unit of the figure."""

    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """AP of each draw in percent, ``(draws,)`` float64; not a number where a draw has no object."""

    map50: Figures
    map50_95: Figures


def draw(pictures: int, resamples: int = RESAMPLES, seed: int = SEED) -> Counts:
    """How often each picture counts in each draw.

    Args:
        pictures: How many there are, at least 1.
        resamples: How often to draw.
        seed: Of the draws; the same seed gives the same draws.

    Returns:
        ``(resamples, pictures)`` int64; each row sums to ``pictures``.
    """
    return np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), resamples)


def interval(values: Figures, pictures: int) -> Interval | None:
    """The 95 % interval of a figure.

    Args:
        values: ``(draws,)``; those that are not a number are left out.
        pictures: How many the draws were made from.

    Returns:
        ``None`` when there are fewer than two pictures, which say nothing about their kind, or no draw has a value.
    """
    known = values[np.isfinite(values)]
    if pictures < 2 or not known.size:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(low), float(high))


def resampled_precision(matches: Sequence[ClassMatches], counts: Counts) -> Resampled:
    """COCO's AP of each draw, as pycocotools would give on a data set that holds each picture so many times.

    The one difference is within equal scores: pycocotools takes copies of a picture one after the other, and here
    all copies of a detection come together.

    Args:
        matches: The classes that have objects.
        counts: ``(draws, pictures)``, from :func:`draw`.
    """
    widest = max((len(one.images) for one in matches), default=0)
    parts = -(-len(counts) * widest // _AT_ONCE) or 1
    found = [_precision(matches, part) for part in np.array_split(counts, min(parts, len(counts)))]
    map50, map50_95 = np.concatenate(found, axis=1)
    return Resampled(map50, map50_95)


def _precision(matches: Sequence[ClassMatches], counts: Counts) -> Figures:
    """``(2, draws)``: AP50 and AP50-95, averaged over the classes each draw has objects of."""
    total = np.zeros((2, len(counts)))
    classes = np.zeros(len(counts))
    for one in matches:
        objects = counts @ one.objects
        present = objects > 0
        total += np.where(present, _class_precision(one, counts, np.maximum(objects, 1)), 0)
        classes += present
    return 100 * np.where(classes > 0, total / np.maximum(classes, 1), np.nan)


def _class_precision(matches: ClassMatches, counts: Counts, objects: Counts) -> Figures:
    """``(2, draws)``: AP of one class at IoU 0.5, and averaged over all thresholds, 0..1."""
    weights = counts[:, matches.images]
    seen = weights.cumsum(axis=1)
    precision = np.stack([_area(weights[:, hit], seen[:, hit], objects) for hit in matches.hits])
    return np.stack([precision[0], precision.mean(axis=0)])


def _area(weights: Counts, seen: Counts, objects: Counts) -> Figures:
    """Mean interpolated precision over pycocotools' 101 recalls.

    Only right detections matter: recall rises at them alone, and precision is highest at them.

    Args:
        weights: ``(draws, n)``, how often each right detection counts; best score first.
        seen: ``(draws, n)``, detections up to and with it.
        objects: ``(draws,)``, objects to find, at least 1.

    Returns:
        ``(draws,)`` in 0..1.
    """
    right = weights.cumsum(axis=1)
    precision = right / (seen + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # How many of the recalls are reached by each detection, and how many by it first.
    reached = np.searchsorted(_RECALLS, right / objects[:, None], side="right")
    first = np.diff(reached, axis=1, prepend=0)
    area: Figures = (best * first).sum(axis=1) / len(_RECALLS)
    return area
