"""Suppression against the plain greedy loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.nms import class_wise_nms, iou_matrix, soft_nms


def plain_iou(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return overlap / union if union > 0 else 0.0


def greedy(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float, limit: int) -> list[int]:
    """The textbook loop."""
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: -scores[i]):
        rivals = [k for k in kept if classes[k] == classes[index]]
        if not any(plain_iou(boxes[k], boxes[index]) > threshold for k in rivals):
            kept.append(index)
    return kept[:limit]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = draw(st.integers(0, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    # Few places and sizes, so that chains of overlaps are common.
    corner = random.integers(0, 12, (count, 2))
    size = random.integers(1, 10, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    scores = (random.integers(1, 20, count) / 20).astype(np.float32)
    return boxes, scores, random.integers(0, 3, count).astype(np.int32)


@settings(max_examples=300)
# No quotient of such boxes' areas comes so close to these that rounding would decide.
@given(scenes(), st.sampled_from([0.0, 0.3007, 0.4503, 0.9001, 1.0]), st.sampled_from([1, 5, 100]))
def test_equals_the_greedy_loop(scene: tuple[np.ndarray, np.ndarray, np.ndarray], threshold: float, limit: int) -> None:
    kept = class_wise_nms(*scene, threshold, limit)
    assert kept.tolist() == greedy(*scene, threshold, limit)


@given(scenes())
def test_iou_is_a_symmetric_share(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes = scene[0]
    matrix = iou_matrix(boxes, boxes)
    assert np.array_equal(matrix, matrix.T)
    assert ((matrix >= 0) & (matrix <= 1)).all()
    expected = np.array([[plain_iou(a, b) for b in boxes] for a in boxes]).reshape(matrix.shape)
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_a_long_chain_is_settled_from_the_best_down() -> None:
    # Each box overlaps only its neighbours: 0 kills 1, which frees 2, which kills 3, and so on.
    count = 101
    left = np.arange(count, dtype=np.float32) * 4
    boxes = np.stack([left, np.zeros(count), left + 10, np.full(count, 10)], axis=1).astype(np.float32)
    scores = np.linspace(1, 0.5, count, dtype=np.float32)
    kept = class_wise_nms(boxes, scores, np.zeros(count, np.int32), 0.4, count)
    assert kept.tolist() == list(range(0, count, 2))


def test_only_the_best_candidates_are_looked_at() -> None:
    boxes = np.array([[i * 20, 0, i * 20 + 10, 10] for i in range(10)], np.float32)
    scores = np.arange(1, 11, dtype=np.float32)
    kept = class_wise_nms(boxes, scores, np.zeros(10, np.int32), 0.5, 100, candidates=4)
    assert kept.tolist() == [9, 8, 7, 6]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_suppress(count: int) -> None:
    kept = class_wise_nms(
        np.zeros((count, 4), np.float32), np.ones(count, np.float32), np.zeros(count, np.int32), 0.5, 9
    )
    assert len(kept) == count


def soft(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, score: float) -> list[tuple[int, float]]:
    """The paper's pseudo code: take the best, lower the rest."""
    left = {index: float(value) for index, value in enumerate(scores)}
    kept = []
    while left:
        best = max(left, key=lambda i: left[i])
        kept.append((best, left.pop(best)))
        for index in left:
            if classes[index] == classes[best]:
                left[index] *= float(np.exp(-(plain_iou(boxes[best], boxes[index]) ** 2) / 0.5))
    return [(index, value) for index, value in kept if value >= score]


@settings(max_examples=200)
@given(scenes(), st.sampled_from([0.01, 0.2501, 0.6001]))
def test_soft_suppression_equals_the_paper(scene: tuple[np.ndarray, np.ndarray, np.ndarray], score: float) -> None:
    boxes, _, classes = scene
    # Scores that stay apart: with equal ones either order is right.
    scores = np.random.default_rng(len(boxes)).permutation(np.linspace(0.05, 1, max(len(boxes), 1)))[: len(boxes)]
    kept, lowered = soft_nms(boxes, scores.astype(np.float32), classes, score, 100)
    expected = soft(boxes, scores, classes, score)
    np.testing.assert_allclose(lowered, [value for _, value in expected], rtol=1e-4)
    rivals = np.diff(lowered) > -1e-5
    if not rivals.any():
        assert kept.tolist() == [index for index, _ in expected]


def test_soft_suppression_keeps_what_greedy_drops() -> None:
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10]], np.float32)
    scores, classes = np.array([0.9, 0.8], np.float32), np.zeros(2, np.int32)
    assert class_wise_nms(boxes, scores, classes, 0.45, 10).tolist() == [0]
    kept, lowered = soft_nms(boxes, scores, classes, 0.1, 10)
    assert kept.tolist() == [0, 1]
    assert lowered == pytest.approx([0.9, 0.8 * np.exp(-((2 / 3) ** 2) / 0.5)], rel=1e-5)
    assert soft_nms(boxes, scores, classes, 0.1, 1)[0].tolist() == [0]
