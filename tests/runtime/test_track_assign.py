"""The assignment of detections to tracks against SciPy's, and against every possible one."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.track.assign import assign


@st.composite
def sparse_weights(draw: st.DrawFn, largest: int = 30) -> np.ndarray:
    """Matrices from empty to full, with many or no equal weights."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(0, largest)), draw(st.integers(0, largest))
    weights = random.random(shape)
    if draw(st.booleans()):
        weights = np.ceil(weights * 4) / 4
    weights[random.random(shape) >= draw(st.sampled_from([0.03, 0.1, 0.3, 1.0]))] = 0
    return weights.astype(np.float32)


def chosen(weights: np.ndarray) -> list[tuple[int, int]]:
    rows, columns = weights.nonzero()
    found = assign(rows, columns, weights[rows, columns])
    return list(zip(found[0].tolist(), found[1].tolist(), strict=True))


def worth(weights: np.ndarray) -> float:
    """The sum of the chosen weights, once it is sure that they may be chosen."""
    pairs = chosen(weights)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(weights[pair] > 0 for pair in pairs)
    return float(sum(float(weights[pair]) for pair in pairs))


@settings(max_examples=400)
@given(sparse_weights())
def test_is_worth_as_much_as_scipys(weights: np.ndarray) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy comes with convert's packages and is not there")
    best = weights[optimize.linear_sum_assignment(weights, maximize=True)].sum(dtype=np.float64)
    assert worth(weights) == pytest.approx(best, abs=1e-9)


@settings(max_examples=200)
@given(sparse_weights(largest=6))
def test_is_worth_as_much_as_the_best_of_all(weights: np.ndarray) -> None:
    wide = weights if weights.shape[0] <= weights.shape[1] else weights.T
    count = wide.shape[0]
    sums = [
        wide[range(count), list(order)].sum(dtype=np.float64) for order in permutations(range(wide.shape[1]), count)
    ]
    assert worth(weights) == pytest.approx(max(sums), abs=1e-9)


@settings(max_examples=100)
@given(sparse_weights(), st.integers(0, 2**32))
def test_does_not_depend_on_the_order(weights: np.ndarray, seed: int) -> None:
    # Weights without ties have one answer.
    weights[weights > 0] = 0.5 + 0.5 * np.random.default_rng(1).random(int((weights > 0).sum()))
    shuffle = np.random.default_rng(seed)
    rows, columns = (shuffle.permutation(size) for size in weights.shape)
    moved = {(int(rows[row]), int(columns[column])) for row, column in chosen(weights[rows][:, columns])}
    assert moved == set(chosen(weights))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([[0.6, 0.55], [0.55, 0.0]], {(0, 1), (1, 0)}),  # the best pair is not in the best choice
        ([[0.9, 0.1], [0.1, 0.0]], {(0, 0)}),  # one good pair beats two poor ones
        ([[0.5], [0.7], [0.6]], {(1, 0)}),
        ([[0.5, 0.7, 0.6]], {(0, 1)}),
        ([[0.0, 0.4], [0.0, 0.0]], {(0, 1)}),
        # A chain: the last row pushes all others on.
        ([[0.9, 0.8, 0, 0], [0, 0.9, 0.8, 0], [0, 0, 0.9, 0.8], [0.85, 0, 0, 0]], {(0, 1), (1, 2), (2, 3), (3, 0)}),
    ],
)
def test_small_cases(weights: list[list[float]], expected: set[tuple[int, int]]) -> None:
    assert set(chosen(np.array(weights, np.float32))) == expected


def test_nearly_equal_weights_end() -> None:
    """Rounding makes distances of columns that are settled look shorter by the last bit; they must stay settled."""
    random = np.random.default_rng(0)
    for _ in range(200):
        weights = (0.5 + 1e-7 * random.integers(0, 3, (12, 12))).astype(np.float32)
        assert len(chosen(weights)) == 12
