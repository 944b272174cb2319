"""Weights that are zero stay zero to the file, and what is left is fitted as well as it can be."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.prune.sparsity import sparsify
from convert.prune.zeros import keep_zeros
from convert.quantize import refit as refit_module
from convert.quantize import support
from convert.quantize.ptq import DEFAULT, PLAIN, Options, Quantized, leave_float
from convert.quantize.support import solve_nonzero
from tests.convert.small_nets import conv, decibels, int8_file, make, pictures, quantised, read_ops, relu, run
from tests.convert.sparse_nets import SPARSE, fours, kernel, mobile

layers = keras.layers
KEPT = Options(keep_zeros=True)


@pytest.fixture(autouse=True)
def _few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """All places of such small pictures, still."""
    monkeypatch.setattr(refit_module, "_PLACES", 20_000)


def file_kernels(data: bytes) -> dict[tuple[int, ...], np.ndarray]:
    """The int8 weights of a file as a kernel each, by its shape: rows, columns, input channels, outputs."""
    found = {}
    for op in read_ops(data):
        if op.name in ("CONV_2D", "FULLY_CONNECTED"):
            stored = op.inputs[1].values
            assert stored is not None
            weights = np.moveaxis(stored, 0, -1)
            found[weights.shape] = weights
    return found


@pytest.fixture(scope="module")
def half() -> keras.Model:
    return sparsify(make(mobile), "2:4")


@pytest.fixture(scope="module")
def most() -> keras.Model:
    return sparsify(make(mobile), "unstructured", 0.6)


@pytest.fixture(scope="module")
def half_int8(half: keras.Model) -> Quantized:
    return quantised(half, KEPT)


def test_the_file_is_still_two_of_four(half_int8: Quantized) -> None:
    found = file_kernels(int8_file(half_int8))
    for name in SPARSE:
        weights = found[kernel(half_int8.exact, name).shape]
        assert all(np.count_nonzero(four) <= 2 for four in fours(weights)), name
        assert np.count_nonzero(weights == 0) < 0.6 * weights.size


def broken(weights: np.ndarray) -> float:
    """Share of fours that are not."""
    return float(np.mean([np.count_nonzero(four) > 2 for four in fours(weights)]))


OPTIONS = [
    (KEPT, False),
    (DEFAULT, True),
    (Options(False, "min-max", refit=True, keep_zeros=True), False),
    (Options(refit=False, keep_zeros=True), False),
    (PLAIN, False),
]


@pytest.mark.parametrize(("options", "breaks"), OPTIONS)
def test_steps_that_leave_zeros_alone(options: Options, breaks: bool, half: keras.Model) -> None:
    """All but refitting do: that is why there is an option."""
    model = quantised(half, options, pictures(4)).model
    assert (broken(kernel(model, "wide")) > 0.5) == breaks
    assert not breaks or broken(kernel(model, "expand")) > 0.5
    assert breaks or not any(broken(kernel(model, name)) for name in SPARSE)


def test_the_file_has_the_share_of_zeros(most: keras.Model) -> None:
    found = file_kernels(int8_file(quantised(most, KEPT)))
    for name in SPARSE:
        before = kernel(most, name)
        after = found[before.shape]
        assert not after[before == 0].any()
        assert np.count_nonzero(after == 0) >= round(0.6 * before.size)
        assert after.any()


def leaky(filters: int) -> keras.Model:
    def build(x: Any) -> Any:
        x = layers.LeakyReLU(0.1)(conv(relu(conv(x, 8)), filters, name="narrow"))
        return conv(relu(conv(x, 5, name="reader")), 2)

    return sparsify(make(build, 8, 8), "2:4")


@pytest.mark.parametrize(("filters", "split"), [(4, True), (8, True), (6, False), (7, False)])
def test_leaky_relu_written_as_two(filters: int, split: bool) -> None:
    """Channels side by side twice keep their fours only where these are whole; else the leaky ReLU stays."""
    model = quantised(leaky(filters), KEPT).model
    assert kernel(model, "reader").shape[2] == (2 * filters if split else filters)
    assert not broken(kernel(model, "reader"))
    assert not broken(kernel(model, "narrow"))


def test_fitting_what_is_left_beats_taking_weights_out_afterwards(half: keras.Model, half_int8: Quantized) -> None:
    """And rounding each to its nearest step."""
    images = pictures(6)
    wanted = run(half, images)
    nearest, naive = (quantised(half, each) for each in (Options(refit=False, keep_zeros=True), DEFAULT))
    keep_zeros(naive.exact).apply(naive.model)
    qualities = [
        np.mean([decibels(real, mine) for real, mine in zip(wanted, run(net.simulation(), images), strict=True)])
        for net in (half_int8, nearest, naive)
    ]
    assert qualities[0] > max(qualities[1:]) + 0.5


def test_a_dense_network_is_fitted_as_before() -> None:
    model = make(lambda x: conv(relu(conv(x, 6)), 2), 8, 8)
    first, second = (quantised(model, Options(keep_zeros=keep)).model.get_weights() for keep in (False, True))
    for mine, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_left_in_float(half_int8: Quantized) -> None:
    """Fitted again, in float for some layers: zeros stay in both kinds."""
    left = leave_float(half_int8, frozenset({"wide"}), pictures(6))
    assert left.keep_zeros
    assert not any(broken(kernel(left.model, name)) for name in SPARSE)
    steps_of = kernel(left.model, "wide") / (np.abs(kernel(left.model, "wide")).max((0, 1, 2)) / 127)
    assert np.abs(steps_of - np.round(steps_of)).max() > 0.1


def test_card_line() -> None:
    assert Options(keep_zeros=True).describe().endswith("weights refitted, zeros kept, per-channel weights")
    assert "zeros" not in DEFAULT.describe()


problems = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 9), st.integers(1, 6), st.floats(0, 1), st.booleans()
)


def least_squares(weights: np.ndarray, covariance: np.ndarray, cross: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    damped = covariance + ridge[:, None, None] * np.eye(weights.shape[1])
    return np.asarray(np.linalg.solve(damped, cross + ridge[:, None, None] * weights))


@settings(max_examples=60)
@given(problems)
def test_each_output_on_its_own_inputs(made: tuple[int, int, int, int, float, bool]) -> None:
    """Against one small problem after the other, with memory for all at once and for one at a time."""
    seed, groups, inputs, outputs, share, narrow = made
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, (groups, 40, inputs)) @ random.normal(0, 1, (groups, inputs, inputs))
    covariance = x.swapaxes(1, 2) @ x / 40
    weights = random.normal(0, 1, (groups, inputs, outputs)) * (random.random((groups, inputs, outputs)) > share)
    cross, ridge = random.normal(0, 1, weights.shape), random.uniform(0.1, 1, groups)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(support, "_MOST_NUMBERS", 1 if narrow else 1 << 22)
        found = solve_nonzero(least_squares, weights, covariance, cross, ridge)
    for group in range(groups):
        for output in range(outputs):
            at = np.flatnonzero(weights[group, :, output])
            expected = np.zeros(inputs)
            if len(at):
                damped = covariance[group][np.ix_(at, at)] + ridge[group] * np.eye(len(at))
                goal = cross[group, at, output] + ridge[group] * weights[group, at, output]
                expected[at] = np.linalg.solve(damped, goal)
            np.testing.assert_allclose(found[group, :, output], expected, atol=1e-6)
            assert not found[group, weights[group, :, output] == 0, output].any()
