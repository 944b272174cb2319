"""Ranges: each method against brute force on small histograms."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.quantize.fold import fold_norms
from convert.quantize.observe import Observed, observe
from convert.quantize.ranges import Histogram, RangeMethod, choose_ranges, divergence, input_range, rounding_error
from convert.quantize.tensors import TensorPlan, plan_tensors
from runtime.card import InputSpec
from tests.convert.small_nets import conv, make, pictures, relu

layers = keras.layers
METHODS = get_args(RangeMethod)


def of_one(
    rows: np.ndarray, gain: Any = None, slope: float | None = None
) -> tuple[keras.Model, TensorPlan, dict[str, Observed]]:
    """A network of one convolution that is said to have given these ``(n, channels)`` values, maybe a leaky ReLU."""
    channels = rows.shape[1]

    def build(x: Any) -> Any:
        x = layers.Conv2D(channels, 1, name="t")(x)
        return x if slope is None else layers.LeakyReLU(slope, name="leaky")(x)

    model = fold_norms(make(build, 4, 4))
    gain = np.ones(channels) if gain is None else np.asarray(gain, np.float64)
    rows = rows.astype(np.float32)
    seen = {"t": Observed(rows, rows.min(0)[None], rows.max(0)[None], gain)}
    if slope is not None:
        behind = np.where(rows < 0, rows * np.float32(slope), rows)
        seen["leaky"] = Observed(behind, behind.min(0)[None], behind.max(0)[None], gain)
    return model, plan_tensors(model), seen


def int8_error(values: np.ndarray, weights: np.ndarray, low: float, high: float, slope: float = 1.0) -> float:
    """Value by value, in plain Python."""
    scale = (high - low) / 255
    zero = int(np.floor(-low / scale + 0.5))
    total = 0.0
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        step = min(255, max(0, round(value / scale) + zero))
        found, wanted = (step - zero) * scale, value
        found, wanted = (each * slope if each < 0 else each for each in (found, wanted))
        total += weight * (found - wanted) ** 2
    return total


histograms = st.builds(
    lambda seed, count, spread, slope: _histogram(np.random.default_rng(seed), count, spread, slope),
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.floats(0.1, 3),
    st.sampled_from([1.0, 0.1]),
)


def _histogram(random: np.random.Generator, count: int, spread: float, slope: float) -> Histogram:
    values = np.sort(random.normal(0, 1, count) * np.exp(random.normal(0, spread, count)))
    counts = random.exponential(1, count)
    return Histogram(values, counts, min(0.0, float(values[0])), max(1e-3, float(values[-1])), slope)


@given(histograms, st.floats(0.05, 1), st.floats(0.05, 1))
def test_rounding_error_value_by_value(histogram: Histogram, down: float, up: float) -> None:
    low, high = histogram.low * down, histogram.high * up
    expected = int8_error(histogram.values, histogram.counts, low, high, histogram.slope)
    assert rounding_error(histogram, low, high) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(histograms, st.floats(0.3, 1), st.floats(0.3, 1))
def test_divergence_step_by_step(histogram: Histogram, down: float, up: float) -> None:
    """Each step's mass spread over its bins, and what is cut off on the last ones."""
    low, high = histogram.low * down, histogram.high * up
    scale = (high - low) / 255
    steps: dict[int, list[int]] = {}
    for at, value in enumerate(histogram.values):
        if low - scale / 2 <= value <= high + scale / 2:
            steps.setdefault(min(255, max(0, int(np.round((value - low) / scale)))), []).append(at)
    found = divergence(histogram, low, high)
    if not steps:
        assert found == np.inf
        return
    bins = sorted(at for each in steps.values() for at in each)
    p = {at: float(histogram.counts[at]) for at in bins}
    p[bins[0]] += float(histogram.counts[: bins[0]].sum())
    p[bins[-1]] += float(histogram.counts[bins[-1] + 1 :].sum())
    q = {at: float(histogram.counts[each].sum()) / len(each) for each in steps.values() for at in each}
    expected = sum(p[at] / sum(p.values()) * np.log(p[at] / sum(p.values()) / (q[at] / sum(q.values()))) for at in bins)
    assert np.isfinite(found)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


_SHAPES: dict[str, np.ndarray] = {
    "normal": np.random.default_rng(0).normal(0, 1, (4000, 1)),
    "long tails": np.random.default_rng(1).laplace(0, 1, (4000, 1)) ** 3,
    "of a relu": np.maximum(np.random.default_rng(2).normal(0, 1, (4000, 1)), 0),
    "one outlier": np.append(np.random.default_rng(3).normal(0, 1, 3999), 60.0)[:, None],
    "all negative": -np.random.default_rng(4).exponential(1, (4000, 1)),
    "two values": np.repeat([[-1.0], [3.0]], 50, axis=0),
}


# As float32 keeps them.
SHAPES = {name: rows.astype(np.float32).astype(np.float64) for name, rows in _SHAPES.items()}


@pytest.mark.parametrize("rows", SHAPES.values(), ids=SHAPES)
def test_the_search_finds_nearly_the_best(rows: np.ndarray) -> None:
    model, plan, seen = of_one(rows)
    low, high = choose_ranges(model, plan, seen, "mse")["t"]
    values = rows[:, 0]
    least, most = min(0.0, values.min()), max(0.0, values.max())
    assert least <= low <= 0 <= high <= most + 1e-6

    def error(low: float, high: float) -> float:
        return rounding_error(Histogram(values, np.ones(len(values)), low, high), low, high)

    shares = np.geomspace(0.05, 1, 40)
    best = min(error(a * least, b * most) for a, b in itertools.product(shares, shares) if b * most - a * least > 1e-3)
    assert error(low, high) <= error(least, most) * (1 + 1e-6)
    assert error(low, high) <= 1.25 * best + 1e-9


@pytest.mark.parametrize("rows", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_range_around_zero(method: RangeMethod, rows: np.ndarray) -> None:
    model, plan, seen = of_one(rows)
    low, high = choose_ranges(model, plan, seen, method)["t"]
    assert np.isfinite([low, high]).all()
    assert min(0.0, rows.min()) <= low <= 0 <= high <= max(0.0, rows.max()) + 1e-6
    if method == "min-max":
        assert (low, high) == pytest.approx((min(0.0, rows.min()), max(0.0, rows.max())), rel=1e-6)
    if method == "entropy":
        exact = Histogram(np.unique(rows), np.ones(len(np.unique(rows))), low, high)
        assert np.isfinite(divergence(exact, low, high))


def test_percentile_cuts_a_ten_thousandth() -> None:
    rows = np.linspace(-1, 2, 200_001)[:, None]
    rows[0], rows[-1] = -50, 80
    model, plan, seen = of_one(rows)
    low, high = choose_ranges(model, plan, seen, "percentile")["t"]
    expected = np.quantile(rows, [1e-4, 1 - 1e-4])
    np.testing.assert_allclose([low, high], expected, atol=130 / 4096)


def test_gains_say_which_channel_matters() -> None:
    random = np.random.default_rng(0)
    rows = np.stack([random.normal(0, 0.02, 4000), random.normal(0, 1, 4000)], 1)
    small = [choose_ranges(*of_one(rows, gain), "mse")["t"][1] for gain in ([1e6, 1.0], [1.0, 1.0], [1.0, 1e6])]
    assert small[0] < 0.5 * small[1]
    assert small[1] <= small[2]
    assert choose_ranges(*of_one(rows, [0.0, 0.0]), "mse")["t"][1] > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_that_is_always_zero_gets_a_range(method: RangeMethod) -> None:
    for slope in (None, 0.1):
        ranges = choose_ranges(*of_one(np.zeros((50, 3)), slope=slope), method)
        assert set(ranges) == ({"t"} if slope is None else {"t", "leaky"})
        for low, high in ranges.values():
            # XNNPACK refuses scales far below those of what is read.
            assert low <= 0
            assert high - low > 0.1


def leaky_error(values: np.ndarray, front: tuple[float, float], behind: tuple[float, float], slope: float) -> float:
    """Rounded, through the leaky ReLU, rounded again."""

    def rounded(x: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
        scale = (ends[1] - ends[0]) / 255
        zero = np.floor(-ends[0] / scale + 0.5)
        return np.asarray((np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale)

    found = rounded(values, front)
    found = rounded(np.where(found < 0, slope * found, found), behind)
    return float(np.square(found - np.where(values < 0, slope * values, values)).sum())


@pytest.mark.parametrize("shift", [-0.5, 0.0, 2.0])
def test_one_range_around_a_leaky_relu(shift: float) -> None:
    values = np.random.default_rng(0).normal(shift, 1, (4000, 1))
    model, plan, seen = of_one(values, slope=0.1)
    ranges = choose_ranges(model, plan, seen, "mse")
    mine = leaky_error(values, ranges["t"], ranges["leaky"], 0.1)
    plain = choose_ranges(model, plan, seen, "min-max")
    assert mine <= leaky_error(values, plain["t"], plain["leaky"], 0.1)
    # The negative half is a tenth behind: cutting it off costs little.
    assert ranges["t"][0] > plain["t"][0]
    if shift == 2.0:
        assert ranges["t"] == ranges["leaky"]


def joined(x: Any) -> Any:
    both = layers.Concatenate()([conv(x, 4, name="a"), relu(conv(x, 4))])
    return layers.Activation("sigmoid", name="gate")(conv(both, 3, name="end"))


@pytest.mark.parametrize("method", METHODS)
def test_groups_and_given_scales(method: RangeMethod) -> None:
    model = fold_norms(make(joined, 8, 8))
    plan = plan_tensors(model)
    seen = observe(model, plan.inner, pictures(4, 8, 8))
    ranges = choose_ranges(model, plan, seen, method)
    assert set(ranges) == {plan.group[point] for point in plan.inner}
    assert ranges["gate"] == (0.0, 255 / 256)
    if method == "min-max":
        group = [seen[point] for point in plan.members()[plan.group["a"]]]
        expected = (min(one.low.min() for one in group), max(one.high.max() for one in group))
        assert ranges[plan.group["a"]] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scale", "offset", "step", "low"),
    [
        ((1 / 255,), (0.0,), 1 / 255, 0.0),
        ((1 / 128,), (-1.0,), 1 / 128, -1.0),
        ((1.0,), (0.0,), 1.0, 0.0),
        ((1.0,), (-128.0,), 1.0, -128.0),
        ((1 / 127.5,), (-1.0,), 2 / 255, -1.0),
        # Three offsets: the range holds all three channels.
        ((1.0,), (-103.0, -116.0, -123.0), (152 + 123) / 255, -123.0),
        ((0.5, 1.0, 2.0), (-10.0, 0.0, 20.0), 540 / 255, -10.0),
        # All above zero: zero is in the range all the same.
        ((1 / 255,), (1.0,), 2 / 255, 0.0),
        ((-1 / 255,), (0.0,), 1 / 255, -1.0),
    ],
)
def test_the_range_of_the_input(scale: tuple[float, ...], offset: tuple[float, ...], step: float, low: float) -> None:
    ends = input_range(InputSpec("image", 8, 8, scale=scale, offset=offset))
    assert ends[0] == pytest.approx(low)
    assert (ends[1] - ends[0]) / 255 == pytest.approx(step, rel=1e-15)
