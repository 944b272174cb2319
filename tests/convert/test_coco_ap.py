"""COCO's figures by class and by size, and what becomes of classes and sizes that do not occur."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from convert.data import Dataset
from convert.evaluate.detection import CocoMatching, Prediction, average_precision
from tests.convert.evaluation import LABELS, Found, Object, predictions, random_set, truths

# Areas: 20x20 = 400 (small), 50x50 = 2500 (medium), 97x97 = 9409 (large).
SMALL, MEDIUM, LARGE = (5.0, 5.0, 25.0, 25.0), (30.0, 30.0, 80.0, 80.0), (100.0, 100.0, 197.0, 197.0)
ALL: list[Object] = [(0, SMALL), (0, MEDIUM), (1, LARGE)]


def found(rows: list[Object]) -> list[Found]:
    return [(0.9 - index / 10, class_id, box) for index, (class_id, box) in enumerate(rows)]


@pytest.mark.parametrize(
    ("there", "mine", "sizes"),
    [
        (ALL, found(ALL), (100, 100, 100)),
        (ALL, found(ALL[1:]), (0, 100, 100)),
        (ALL[:1], found(ALL[:1]), (100, None, None)),
        # The false alarm is large; the only large class has no object of that size, so it costs nothing there.
        (ALL[:1], [(0.5, 0, SMALL), (0.9, 0, LARGE)], (100, None, None)),
        (ALL[2:], [], (None, None, 0)),
        ([], found(ALL), (None, None, None)),
    ],
)
def test_sizes(there: list[Object], mine: list[Found], sizes: tuple[float | None, ...]) -> None:
    dataset = truths(there, side=200)
    score = CocoMatching(predictions(mine, side=200), dataset, LABELS).score()
    assert list(score.by_size.values()) == [None if size is None else pytest.approx(size) for size in sizes]
    counts = [sum(box in (size,) for _, box in there) for size in (SMALL, MEDIUM, LARGE)]
    assert list(score.objects_by_size.values()) == counts
    assert score.objects == len(there)


def test_size_is_that_of_the_picture_not_of_the_network() -> None:
    """The same fractions of a picture three times as wide and high are a large object, not a small one."""
    dataset = truths([(0, SMALL)], side=200)
    prediction = predictions([(0.9, 0, tuple(5 * value for value in SMALL))], side=1000)  # type: ignore[list-item]
    score = CocoMatching(prediction, dataset, LABELS).score()
    assert score.by_size == {"small": None, "medium": None, "large": pytest.approx(100)}


def test_classes() -> None:
    """Class 1 is found loosely: IoU 0.8, right at seven of ten thresholds. Class 2 does not occur."""
    loose = (100.0, 100.0, 197.0, 177.6)
    score = CocoMatching(
        predictions([(0.9, 0, SMALL), (0.8, 1, loose), (0.99, 2, MEDIUM)], side=200),
        truths([(0, SMALL), (0, MEDIUM), (1, LARGE)], side=200),
        LABELS,
    ).score()
    half = 100 * 51 / 101
    expected = {"wren": (2, half, half), "robin": (1, 100, 70)}
    assert score.per_class.keys() == expected.keys()
    for name, figures in expected.items():
        assert dataclasses.astuple(score.per_class[name]) == pytest.approx(figures)
    assert score.map50 == pytest.approx((half + 100) / 2)
    assert score.map75 == pytest.approx((half + 100) / 2)
    assert score.map50_95 == pytest.approx((half + 70) / 2)


def test_ap75_is_that_threshold() -> None:
    """IoU 0.72: right at 0.70, wrong at 0.75."""
    loose = (100.0, 100.0, 197.0, 169.84)
    score = CocoMatching(predictions([(0.8, 1, loose)], side=200), truths([(1, LARGE)], side=200), LABELS).score()
    assert score.map50 == pytest.approx(100)
    assert score.map75 == 0
    assert score.map50_95 == pytest.approx(50)


@pytest.mark.parametrize("mine", [[], found(ALL)])
def test_no_object_at_all(mine: list[Found]) -> None:
    score = CocoMatching(predictions(mine, side=200), truths([], side=200), LABELS).score()
    assert (score.map50, score.map75, score.map50_95) == (None, None, None)
    assert score.per_class == {}


def test_headline_figures_are_the_same() -> None:
    made, dataset = random_set(6, 4, seed=1)
    score = CocoMatching(made, dataset, dataset.names).score()
    assert average_precision(made, dataset, dataset.names) == {"map50": score.map50, "map50_95": score.map50_95}


def test_matches_tell_each_class_with_objects() -> None:
    made = predictions([(0.9, 0, SMALL), (0.95, 0, LARGE)], [(0.93, 0, MEDIUM), (0.5, 1, LARGE)], side=200)
    dataset = truths([(0, SMALL)], [(0, MEDIUM), (0, LARGE)], side=200)
    (only,) = CocoMatching(made, dataset, LABELS).matches()
    assert only.images.tolist() == [0, 1, 0]
    assert only.hits.tolist() == [[False, True, True]] * 10
    assert only.objects.tolist() == [1, 2]


def test_pictures_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="zip"):
        CocoMatching(predictions([]), truths([], []), LABELS)


def test_unannotated_pictures_have_no_background() -> None:
    dataset = truths([], [(0, SMALL)])
    assert dataset.background == 1
    plain: Dataset = dataclasses.replace(dataset, annotated=False)
    assert plain.background == 0


def test_predictions_are_left_alone() -> None:
    made: list[Prediction] = predictions(found(ALL), side=200)
    before = made[0].found.boxes.copy()
    CocoMatching(made, truths(ALL, side=200), LABELS).score()
    assert np.array_equal(made[0].found.boxes, before)
