"""Average precision and agreement, against figures worked out by other means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.data import Dataset
from convert.evaluate.agreement import agreement_f1
from convert.evaluate.detection import average_precision
from tests.convert.evaluation import LABELS, predictions, truths

A, B, C = (10.0, 10.0, 50.0, 50.0), (60.0, 60.0, 90.0, 90.0), (0.0, 60.0, 30.0, 99.0)
# Overlaps A with IoU 0.62: right at 0.50, 0.55 and 0.60, wrong from 0.65 on.
A_62 = (10.0, 10.0, 50.0, 34.8)


@pytest.mark.parametrize(
    ("found", "map50", "map50_95"),
    [
        ([[(0.9, 0, A), (0.8, 1, B)], [(0.7, 0, C)]], 100.0, 100.0),
        ([[], []], 0.0, 0.0),
        ([[(0.9, 2, A)], []], 0.0, 0.0),
        # Class 1 missed altogether; class 0 right.
        ([[(0.9, 0, A)], [(0.7, 0, C)]], 50.0, 50.0),
        # Class 0: right, wrong, right. Precision 1 up to recall 0.5, then 2/3: (51 + 50 * 2/3) / 101 points.
        ([[(0.9, 0, A), (0.8, 0, B), (0.8, 1, B)], [(0.7, 0, C)]], 50 * ((51 + 50 * 2 / 3) / 101 + 1), None),
        # The same box twice: the second counts against it, but after full recall that costs nothing.
        ([[(0.9, 0, A), (0.5, 0, A), (0.8, 1, B)], [(0.7, 0, C)]], 100.0, 100.0),
        # A found loosely: right at three of the ten thresholds.
        ([[(0.9, 0, A_62), (0.8, 1, B)], [(0.95, 0, C)]], 100.0, 50 * (0.3 + 0.7 * 51 / 101) + 50),
    ],
)
def test_average_precision(found: list, map50: float, map50_95: float | None) -> None:  # type: ignore[type-arg]
    dataset = truths([(0, A), (1, B)], [(0, C)])
    measured = average_precision(predictions(*found), dataset, LABELS)
    assert measured["map50"] == pytest.approx(map50, abs=1e-6)
    if map50_95 is not None:
        assert measured["map50_95"] == pytest.approx(map50_95, abs=1e-6)


def test_names_decide_and_unknown_classes_do_not_count() -> None:
    dataset = Dataset("other", truths([(0, A), (1, B)]).truths, ("robin", "owl"))
    measured = average_precision(predictions([(0.9, 1, A)]), dataset, LABELS)
    assert measured == {"map50": pytest.approx(100), "map50_95": pytest.approx(100)}


def test_no_truth_at_all() -> None:
    assert average_precision(predictions([(0.9, 0, A)]), truths([]), LABELS) == {"map50": 0.0, "map50_95": 0.0}


@pytest.mark.parametrize(
    ("mine", "theirs", "f1"),
    [
        ([(0.9, 0, A)], [(0.5, 0, A)], 100.0),
        ([], [], 100.0),
        ([(0.9, 0, A)], [], 0.0),
        ([(0.9, 0, A)], [(0.9, 1, A)], 0.0),
        ([(0.9, 0, A_62)], [(0.9, 0, A)], 100.0),
        ([(0.9, 0, (10.0, 10.0, 50.0, 29.0))], [(0.9, 0, A)], 0.0),
        # Below 0.25 nothing counts.
        ([(0.9, 0, A), (0.2, 0, B)], [(0.9, 0, A), (0.24, 0, C)], 100.0),
        # One of theirs can be matched once.
        ([(0.9, 0, A), (0.8, 0, A_62)], [(0.9, 0, A)], 100 * 2 / 3),
        ([(0.9, 0, A), (0.8, 1, B)], [(0.9, 0, A), (0.6, 0, C)], 50.0),
    ],
)
def test_agreement(mine: list, theirs: list, f1: float) -> None:  # type: ignore[type-arg]
    assert agreement_f1(predictions(mine), predictions(theirs)) == pytest.approx(f1)


@st.composite
def found_rows(draw: st.DrawFn) -> list[tuple[float, int, tuple[float, float, float, float]]]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = []
    for _ in range(draw(st.integers(0, 8))):
        x, y = random.integers(0, 60, 2)
        w, h = random.integers(5, 40, 2)
        rows.append((float(random.uniform(0.1, 1)), int(random.integers(0, 2)), (x, y, x + w, y + h)))
    return rows


@given(found_rows(), found_rows())
def test_agreement_is_a_percentage_and_full_with_oneself(mine: list, theirs: list) -> None:  # type: ignore[type-arg]
    assert 0 <= agreement_f1(predictions(mine), predictions(theirs)) <= 100
    assert agreement_f1(predictions(mine), predictions(mine)) == 100
