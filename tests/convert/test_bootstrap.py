"""The bootstrap: its AP is pycocotools' on the data set each draw stands for, its intervals those of a slow loop."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from convert.data import Dataset
from convert.evaluate.agreement import agreement, agreement_f1, renumbered
from convert.evaluate.bootstrap import Interval, draw, interval, resampled_precision
from convert.evaluate.detection import CocoMatching, Prediction
from convert.evaluate.measure import compare, measure
from runtime.detections import Detections
from runtime.errors import InputError
from tests.convert.evaluation import LABELS, Box, predictions, random_set, truths


def copies(made: list[Prediction], dataset: Dataset, counts: list[int]) -> tuple[list[Prediction], Dataset]:
    """A data set that really holds each picture so many times."""
    order = [picture for picture, count in enumerate(counts) for _ in range(count)]
    return [made[i] for i in order], dataclasses.replace(dataset, truths=tuple(dataset.truths[i] for i in order))


def pycocotools_ap(made: list[Prediction], dataset: Dataset) -> tuple[float, float]:
    """AP50 and AP50-95 by pycocotools alone, its own way in and out."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (truth, prediction) in enumerate(zip(dataset.truths, made, strict=True)):
        images.append({"id": image})
        for fractions, category in zip(truth.boxes.astype(np.float64), truth.class_ids.tolist(), strict=True):
            x1, y1, x2, y2 = (fractions * prediction.width).tolist()
            row = {"image_id": image, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            annotations.append({**row, "id": len(annotations) + 1, "area": (x2 - x1) * (y2 - y1)})
        found = prediction.found
        rows = zip(found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
        for (x1, y1, x2, y2), score, category in rows:
            row = {"image_id": image, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append({**row, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        categories = [{"id": number} for number in range(len(dataset.names))]
        truth_set.dataset = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[1]), 100 * float(evaluation.stats[0])


@pytest.mark.parametrize(("pictures", "classes", "seed"), [(1, 1, 3), (8, 3, 0), (20, 30, 1), (30, 1, 2)])
def test_every_picture_once_is_pycocotools(pictures: int, classes: int, seed: int) -> None:
    made, dataset = random_set(pictures, classes, seed)
    matches = CocoMatching(made, dataset, dataset.names).matches()
    resampled = resampled_precision(matches, np.ones((1, pictures), np.int64))
    expected = pycocotools_ap(made, dataset)
    assert (resampled.map50[0], resampled.map50_95[0]) == pytest.approx(expected, abs=1e-9)
    assert 0 < expected[1] < expected[0] < 100


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 4), min_size=2, max_size=8))
def test_counts_are_pycocotools_on_copies(seed: int, counts: list[int]) -> None:
    made, dataset = random_set(len(counts), 3, seed)
    matches = CocoMatching(made, dataset, dataset.names).matches()
    resampled = resampled_precision(matches, np.array([counts]))
    many, copied = copies(made, dataset, counts)
    if not any(len(truth.class_ids) for truth in copied.truths):
        assert np.isnan([resampled.map50[0], resampled.map50_95[0]]).all()
        return
    # Its loadRes fails without any detection.
    expected = pycocotools_ap(many, copied) if any(len(one.found) for one in many) else (0.0, 0.0)
    assert (resampled.map50[0], resampled.map50_95[0]) == pytest.approx(expected, abs=1e-9)


def test_equal_scores_are_pycocotools_too() -> None:
    """Two scores only, as from a coarse network: order among them is that of the pictures."""
    made, dataset = random_set(12, 2, seed=5)
    for one in made:
        one.found.scores[:] = np.where(one.found.scores > 0.5, 0.75, 0.5)
    matches = CocoMatching(made, dataset, dataset.names).matches()
    resampled = resampled_precision(matches, np.ones((1, 12), np.int64))
    assert (resampled.map50[0], resampled.map50_95[0]) == pytest.approx(pycocotools_ap(made, dataset), abs=1e-9)


def test_draws_are_those_of_pycocotools_and_parts_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made, dataset = random_set(10, 4, seed=7)
    matches = CocoMatching(made, dataset, dataset.names).matches()
    counts = draw(10, resamples=20)
    resampled = resampled_precision(matches, counts)
    for row, map50, map50_95 in zip(counts, resampled.map50, resampled.map50_95, strict=True):
        expected = pycocotools_ap(*copies(made, dataset, row.tolist()))
        assert (map50, map50_95) == pytest.approx(expected, abs=1e-9)
    monkeypatch.setattr("convert.evaluate.bootstrap._AT_ONCE", 50)
    again = resampled_precision(matches, counts)
    assert again.map50 == pytest.approx(resampled.map50, abs=1e-9)
    assert again.map50_95 == pytest.approx(resampled.map50_95, abs=1e-9)


def test_draws() -> None:
    counts = draw(12, resamples=4000, seed=3)
    assert counts.shape == (4000, 12)
    assert (counts.sum(axis=1) == 12).all()
    assert np.array_equal(counts, draw(12, resamples=4000, seed=3))
    assert not np.array_equal(counts, draw(12, resamples=4000, seed=4))
    # Each picture is absent from (1 - 1/12) ** 12 of the draws, and counts once on average.
    assert np.mean(counts == 0) == pytest.approx((1 - 1 / 12) ** 12, abs=0.01)
    assert counts.mean(axis=0) == pytest.approx(np.ones(12), abs=0.07)


def test_interval() -> None:
    values = np.arange(1001, dtype=np.float64)
    assert interval(values, 10) == Interval(25, 975)
    assert interval(np.append(values, np.nan), 10) == Interval(25, 975)
    assert interval(values, 1) is None
    assert interval(np.full(5, np.nan), 10) is None


def test_agreement_interval_is_that_of_a_loop() -> None:
    made, dataset = random_set(15, 3, seed=2)
    other, _ = random_set(15, 3, seed=2, shift=9)
    counts = draw(15, resamples=50)
    slow = []
    for row in counts:
        mine, _ = copies(made, dataset, row.tolist())
        theirs, _ = copies(other, dataset, row.tolist())
        slow.append(agreement_f1(mine, theirs))
    fast = agreement(made, other).resampled_f1(counts)
    assert fast == pytest.approx(slow, abs=1e-9)
    assert np.ptp(fast) > 1


A, B, C = (10.0, 10.0, 50.0, 50.0), (60.0, 60.0, 90.0, 90.0), (0.0, 60.0, 30.0, 99.0)


def test_scores_of_agreeing_boxes() -> None:
    mine = predictions([(0.9, 0, A), (0.5, 0, B)], [(0.4, 1, A), (0.9, 2, C)])
    theirs = predictions([(0.7, 0, A), (0.6, 0, B)], [(0.6, 1, A), (0.2, 2, C)])
    both = agreement(mine, theirs)
    assert (both.agreed.tolist(), both.found.tolist(), both.reference.tolist()) == ([2, 1], [2, 2], [2, 1])
    assert both.score_difference == pytest.approx((0.2 - 0.1 - 0.2) / 3)
    assert agreement(mine, predictions([], [])).score_difference is None


@pytest.mark.parametrize(
    ("theirs", "class_ids"),
    [
        (LABELS, [0, 2]),
        (("finch", "wren", "robin"), [2, 1]),
        # Classes of the reference alone agree with nothing.
        (("wren", "owl", "crow", "finch"), [0, 4 + 1]),
        # Other words for the same.
        (("Zaunkönig", "Rotkehlchen", "Buchfink"), [0, 2]),
    ],
)
def test_class_numbers_follow_the_names(theirs: tuple[str, ...], class_ids: list[int]) -> None:
    reference = predictions([(0.9, 0, A), (0.8, 2, B)])
    (renamed,) = renumbered(reference, theirs, LABELS)
    assert renamed.found.class_ids.tolist() == class_ids
    assert reference[0].found.class_ids.tolist() == [0, 2]


def test_networks_without_a_class_in_common() -> None:
    with pytest.raises(InputError, match="none of the same name"):
        renumbered(predictions([]), ("owl", "crow"), LABELS)


def test_a_network_beside_itself_and_beside_a_worse_one() -> None:
    made, dataset = random_set(40, 5, seed=1, shift=3)
    worse, _ = random_set(40, 5, seed=1, shift=14)
    good, bad = measure(made, dataset, dataset.names), measure(worse, dataset, dataset.names)
    same = compare(good, good)
    assert same.map50.points == 0
    assert same.map50.interval == same.map50_95.interval == Interval(0, 0)
    assert same.agreement_interval == Interval(100, 100)
    apart = compare(bad, good)
    for difference in (apart.map50, apart.map50_95):
        assert difference.interval is not None
        assert difference.points is not None
        assert difference.interval.high < 0
        assert difference.interval.low < difference.points < difference.interval.high
    again = compare(bad, good)
    assert (again.map50, again.map50_95) == (apart.map50, apart.map50_95)
    assert again.agreement_interval == apart.agreement_interval


def test_one_picture_says_nothing_about_others() -> None:
    box: Box = A
    one = measure(predictions([(0.9, 0, box)]), truths([(0, box)]), LABELS)
    compared = compare(one, one)
    assert compared.agreement_interval is None
    assert (compared.map50.points, compared.map50.interval) == (0, None)


def test_no_truth_no_difference() -> None:
    none = measure(predictions([(0.9, 0, A)], []), truths([], []), LABELS)
    compared = compare(none, none)
    assert (compared.map50.points, compared.map50.interval) == (None, None)
    assert compared.agreement.f1 == 100


def test_a_thousand_draws_take_seconds() -> None:
    """64 pictures, 80 classes, 100 detections a picture."""
    made, dataset = random_set(64, 80, seed=0, objects=14, junk=180)
    made = [Prediction(_first(one, 100), one.width, one.height) for one in made]
    measured = measure(made, dataset, dataset.names)
    start = time.process_time()
    compare(measured, measured)
    assert time.process_time() - start < 5


def _first(prediction: Prediction, limit: int) -> Detections:
    found = prediction.found
    return Detections(found.boxes[:limit], found.scores[:limit], found.class_ids[:limit])
