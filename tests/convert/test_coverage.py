"""Whether ranges had settled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convert.quantize.coverage import TensorCoverage, coverage
from runtime.errors import InputError

VALUES = st.integers(-50, 50).map(float)


def one(low: np.ndarray, high: np.ndarray) -> TensorCoverage:
    return coverage(["t"], low[None], high[None])[0]


@given(st.integers(2, 80), VALUES, st.integers(0, 20))
def test_constant_ranges_have_converged(pictures: int, low: float, width: int) -> None:
    found = one(np.full(pictures, low), np.full(pictures, low + width))
    assert found == TensorCoverage("t", 0, 0, 0, True)


@given(st.integers(2, 300), st.sampled_from([0.01, 1, 7]), st.booleans())
def test_growing_ranges_have_not(pictures: int, step: float, downwards: bool) -> None:
    growing, still = step * np.arange(1, pictures + 1), np.zeros(pictures)
    found = one(-growing, still) if downwards else one(still, growing)
    assert found.growing == 1
    assert not found.converged


@given(st.integers(0, 2**32 - 1), st.integers(128, 200))
def test_pictures_of_one_kind_settle(seed: int, pictures: int) -> None:
    random = np.random.default_rng(seed)
    assert one(-1 - random.random(pictures), 5 + random.random(pictures)).converged


@given(st.integers(1, 40), st.integers(0, 1000), st.floats(0, 1))
def test_one_outlier(half: int, position: int, share: float) -> None:
    """A picture that alone makes a share of the range is missing from every second half."""
    pictures = 2 * half
    low, high = np.zeros(pictures), np.full(pictures, 1 - share)
    high[position % pictures] = 1
    found = one(low, high)
    assert found.widened == pytest.approx(share / 2)
    # Of two pictures, the smaller one lies inside the larger one's range.
    assert found.outside == pytest.approx((1 - share < 1) / pictures)


@given(st.integers(1, 12).flatmap(lambda n: arrays(float, (2, n), elements=VALUES)))
def test_outside_and_growing_against_loops(ends: np.ndarray) -> None:
    low, high = ends.min(0), ends.max(0)
    found = one(low, high)
    n = len(low)
    if n == 1:
        assert found == TensorCoverage("t", 1, 1, 1, False)
        return
    outside = growing = 0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        outside += high[i] > max(high[j] for j in others) or low[i] < min(low[j] for j in others)
        if i >= n - n // 2:
            growing += high[i] > max(high[:i]) or low[i] < min(low[:i])
    assert found.outside == pytest.approx(outside / n)
    assert found.growing == pytest.approx(growing / (n // 2))


@given(st.integers(2, 12).flatmap(lambda n: arrays(float, (2, n), elements=VALUES)), st.sampled_from([0.5, 1, 4]))
def test_unit_and_sign_do_not_matter(ends: np.ndarray, scale: float) -> None:
    low, high = ends.min(0), ends.max(0)
    found = one(low, high)
    assert 0 <= found.widened <= 1
    assert one(scale * low, scale * high) == found
    assert one(-high, -low) == found


def test_each_tensor_alone() -> None:
    n = 40
    low, high = np.zeros((3, n)), np.ones((3, n))
    high[1] = np.arange(n)
    high[2, 5] = 3
    found = coverage(["a", "b", "c"], low, high)
    assert [(tensor.tensor, tensor.converged) for tensor in found] == [("a", True), ("b", False), ("c", False)]


def test_few_pictures_never_suffice_for_a_range_that_varies() -> None:
    random = np.random.default_rng(0)
    assert not one(np.zeros(16), 5 + 0.01 * random.random(16)).converged


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    high = np.ones((2, 4))
    high[1, 2] = value
    with pytest.raises(InputError, match="tensor 'b' of the float network is not a finite number"):
        coverage(["a", "b"], np.zeros((2, 4)), high)


@pytest.mark.parametrize(("names", "low", "high"), [(1, (2, 3), (2, 3)), (2, (2, 3), (2, 4)), (2, (2, 0), (2, 0))])
def test_shapes_that_do_not_fit(names: int, low: tuple[int, int], high: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected \\(tensors, pictures\\)"):
        coverage(["t"] * names, np.zeros(low), np.zeros(high))
