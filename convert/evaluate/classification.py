"""Accuracy of classifiers: how often the right class is the first, or among the first five."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.classifier import Classifier
from runtime.errors import InputError
from runtime.sources.images import read_image

Integers = npt.NDArray[np.int32]

TOP = 5
_WORST = 5
# One wrong picture says nothing about a class.
_LEAST = 2
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Ranking:
    """What a classifier said about pictures.

    Attributes:
        classes: ``(n, 5)`` int32, best class first; -1 where the model has fewer classes, and for a picture that
            could not be read.
        unread: Why pictures could not be read, one line each.
    """

    classes: Integers
    unread: tuple[str, ...]

    @property
    def read(self) -> npt.NDArray[np.bool_]:
        """``(n,)``: which pictures could be read."""
        return np.asarray(self.classes[:, 0] >= 0)


def rank(classifier: Classifier, paths: Sequence[Path], progress: Callable[[int, int], None] | None = None) -> Ranking:
    """Runs a classifier over pictures.

    Args:
        classifier: Its ``top`` is set for the run and put back.
        paths: The pictures.
        progress: Called with (done, total).
    """
    saved, classifier.top = classifier.top, TOP
    classes, unread = np.full((len(paths), TOP), -1, np.int32), []
    try:
        for index, path in enumerate(paths):
            try:
                best = classifier.classify(read_image(path)).class_ids
                classes[index, : len(best)] = best
            except InputError as error:
                unread.append(error.seen)
            if progress:
                progress(index + 1, len(paths))
    finally:
        classifier.top = saved
    return Ranking(classes, tuple(unread))


def accuracy(classes: Integers, truth: Integers) -> dict[str, float]:
    """``top1`` and ``top5`` in percent.

    Args:
        classes: ``(n, 5)``, best first, n at least 1.
        truth: ``(n,)`` the right classes.
    """
    right = classes == truth[:, None]
    return {"top1": 100 * float(right[:, 0].mean()), "top5": 100 * float(right.any(axis=1).mean())}


def worst_classes(
    classes: Integers, truth: Integers, labels: Sequence[str], limit: int = _WORST
) -> list[dict[str, Any]]:
    """The classes that cost most pictures, and what they are taken for most often.

    Returns:
        Up to ``limit`` rows ``{"label", "images", "wrong", "taken_for", "times"}``, most wrong pictures first; classes
        with a single wrong picture are none of them.
    """
    count = len(labels)
    wrong = classes[:, 0] != truth
    lost = np.bincount(truth[wrong], minlength=count)
    seen = np.bincount(truth, minlength=count)
    rows = []
    for label in np.argsort(-lost, kind="stable")[:limit]:
        if lost[label] >= _LEAST:
            others = np.bincount(classes[wrong & (truth == label), 0], minlength=count)
            rows.append(
                {
                    "label": labels[label],
                    "images": int(seen[label]),
                    "wrong": int(lost[label]),
                    "taken_for": labels[int(others.argmax())],
                    "times": int(others.max()),
                }
            )
    return rows


def difference_interval(right: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same pictures, in points of percent.

    A paired bootstrap (Efron and Tibshirani, 1993, chapter 13): pictures are drawn anew with replacement, each with
    both answers. Only the numbers of pictures that one of the two gets right alone matter, so they are drawn at once.

    Args:
        right: ``(n,)`` where the model is right.
        reference: ``(n,)`` where the reference is.
    """
    count = len(right)
    gained, lost = int((right & ~reference).sum()), int((~right & reference).sum())
    shares = np.array([gained, lost, count - gained - lost]) / count
    drawn = np.random.default_rng(0).multinomial(count, shares, _RESAMPLES)
    low, high = np.percentile(100 * (drawn[:, 0] - drawn[:, 1]) / count, [2.5, 97.5])
    return float(low), float(high)
