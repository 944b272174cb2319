"""The filter in closed form against the textbook's matrices, one object at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.track import kalman


class Textbook:
    """The filter of one object as it stands in the book: 8 x 8 matrices and an inverse."""

    def __init__(self, box: np.ndarray, unit: float, noise: float) -> None:
        self.state = np.concatenate([box, np.zeros(4)])
        speed = (kalman.FIRST_SPEED_STD * unit) ** 2
        self.covariance = np.diag([noise**2] * 4 + [speed, speed, 0, 0])

    def predict(self, unit: float, seconds: float) -> None:
        f = np.eye(8)
        f[:4, 4:] = seconds * np.eye(4)
        q = np.zeros((8, 8))
        for i in (0, 1):
            block = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
            q[np.ix_([i, i + 4], [i, i + 4])] = (kalman.ACCELERATION * unit) ** 2 * block
            q[i + 2, i + 2] = (kalman.SIZE_WANDER * unit) ** 2 * seconds
        self.state = f @ self.state
        self.covariance = f @ self.covariance @ f.T + q

    def correct(self, box: np.ndarray, noise: float) -> None:
        h = np.eye(4, 8)
        s = h @ self.covariance @ h.T + noise**2 * np.eye(4)
        k = self.covariance @ h.T @ np.linalg.inv(s)
        self.state = self.state + k @ (box - h @ self.state)
        self.covariance = (np.eye(8) - k @ h) @ self.covariance


def boxes_of(random: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([random.uniform(0, 2000, (2, count)), random.uniform(0, 400, (2, count))])


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 30))
def test_equals_the_textbook(seed: int, count: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    boxes = boxes_of(random, count)
    unit = kalman.unit_of(boxes)
    noise = kalman.noise_of(unit, random.random(count).astype(np.float32))
    estimate = kalman.begin(boxes, unit, noise)
    books = [Textbook(boxes[:, i], unit[i], noise[i]) for i in range(count)]
    for _ in range(steps):
        seconds = float(random.choice([0.0, 1 / 30, 0.2, 1.5]))
        estimate = kalman.predict(estimate, unit, seconds)
        for i, book in enumerate(books):
            book.predict(unit[i], seconds)
        if random.random() < 0.8:
            boxes = boxes_of(random, count)
            unit = kalman.unit_of(boxes)
            noise = kalman.noise_of(unit, random.random(count).astype(np.float32))
            estimate = kalman.correct(estimate, boxes, noise)
            for i, book in enumerate(books):
                book.correct(boxes[:, i], noise[i])
    for i, book in enumerate(books):
        np.testing.assert_allclose(estimate[:2, :, i].ravel(), book.state, rtol=1e-8, atol=1e-6)
        covariance = book.covariance
        for at in range(4):
            block = covariance[np.ix_([at, at + 4], [at, at + 4])]
            expected = [block[0, 0], block[0, 1], block[1, 1]]
            np.testing.assert_allclose(estimate[2:, at, i], expected, rtol=1e-6, atol=1e-6)
        # What the closed form leaves out really is nothing.
        rest = covariance.copy()
        for at in range(4):
            rest[np.ix_([at, at + 4], [at, at + 4])] = 0
        assert np.abs(rest).max() < 1e-6


@given(st.integers(0, 2**32), st.floats(0, 2), st.floats(0, 2))
def test_two_steps_are_one(seed: int, first: float, second: float) -> None:
    random = np.random.default_rng(seed)
    boxes = boxes_of(random, 3)
    unit = kalman.unit_of(boxes)
    estimate = kalman.begin(boxes, unit, unit)
    estimate = kalman.correct(kalman.predict(estimate, unit, 0.1), boxes_of(random, 3), unit)
    twice = kalman.predict(kalman.predict(estimate, unit, first), unit, second)
    np.testing.assert_allclose(twice, kalman.predict(estimate, unit, first + second), rtol=1e-9, atol=1e-9)


def test_a_steady_object_is_known_exactly() -> None:
    """Speed in pixels per second, whatever the frame rate; the box between two detections lies on the way."""
    start, speed = np.array([[100.0], [50.0], [40.0], [60.0]]), np.array([[90.0], [-30.0], [0.0], [0.0]])
    unit = kalman.unit_of(start)
    for gap in (1 / 60, 1 / 30, 0.1):
        estimate = kalman.begin(start, unit, 0.02 * unit)
        for step in range(1, 120):
            estimate = kalman.predict(estimate, unit, gap)
            estimate = kalman.correct(estimate, start + step * gap * speed, 0.02 * unit)
        np.testing.assert_allclose(estimate[1], speed, atol=1.0)
        later = kalman.predict(estimate, unit, 0.5 * gap)[0]
        np.testing.assert_allclose(later, start + 119.5 * gap * speed, atol=0.2)


@pytest.mark.parametrize("scores", [(1.0, 0.5), (0.6, 0.0)])
def test_a_doubtful_box_counts_for_less(scores: tuple[float, float]) -> None:
    box = np.array([[100.0], [50.0], [40.0], [60.0]])
    unit = kalman.unit_of(box)
    before = kalman.predict(kalman.begin(box, unit, kalman.noise_of(unit, np.ones(1, np.float32))), unit, 0.1)
    moves = []
    for score in scores:
        noise = kalman.noise_of(unit, np.array([score], np.float32))
        moves.append(kalman.correct(before, box + 10, noise)[0] - before[0])
    assert (moves[0] > moves[1]).all()
    assert (moves[1] > 0).all()


def test_an_empty_box_has_a_unit() -> None:
    assert kalman.unit_of(np.zeros((4, 2))).tolist() == [1, 1]
