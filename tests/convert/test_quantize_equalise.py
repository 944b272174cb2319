"""Channel equalisation: the same function, better int8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.models.layers import ChannelGroup, NearestUpsample
from convert.quantize.channels import ChannelClasses, channel_classes
from convert.quantize.equalise import equalise, flip_negative, noise_optimal, rescale, temper
from convert.quantize.fake_quant import fake_quantise
from convert.quantize.fold import fold_norms
from convert.quantize.observe import Observed, observe
from convert.quantize.ptq import PLAIN, Options
from convert.quantize.ranges import choose_ranges
from convert.quantize.tensors import TensorPlan, plan_tensors
from tests.convert.small_nets import conv, decibels, int8_file, make, pictures, quantised, relu, run, run_file

layers = keras.layers


def prepared(model: keras.Model, images: np.ndarray) -> tuple[keras.Model, TensorPlan, dict[str, Observed]]:
    exact = fold_norms(model)
    plan = plan_tensors(exact)
    return exact, plan, observe(exact, plan.inner, images)


# A step takes the tensors there are, all of one size and eight channels, and adds one.
STEPS: dict[str, Callable[[list[Any]], Any]] = {
    "conv": lambda xs: conv(xs[-1], 8),
    "conv relu": lambda xs: relu(conv(xs[-1], 8)),
    "conv relu6": lambda xs: relu(conv(xs[-1], 8), 6.0),
    "conv leaky": lambda xs: layers.LeakyReLU(0.1)(conv(xs[-1], 8)),
    "conv norm leaky": lambda xs: layers.LeakyReLU(0.2)(layers.BatchNormalization()(conv(xs[-1], 8))),
    "silu": lambda xs: layers.Activation("silu")(conv(xs[-1], 8)),
    "depthwise": lambda xs: relu(layers.DepthwiseConv2D(3, padding="same")(xs[-1])),
    "depthwise times two": lambda xs: conv(layers.DepthwiseConv2D(1, depth_multiplier=2)(xs[-1]), 8, 1),
    "grouped": lambda xs: conv(xs[-1], 8, groups=2),
    "residual": lambda xs: layers.Add()([xs[-1], xs[-2]]),
    "residual relu": lambda xs: relu(layers.Add()([xs[-1], xs[-3 % len(xs)]])),
    "concat": lambda xs: conv(layers.Concatenate()([xs[-1], xs[-2]]), 8, 1),
    "concat part": lambda xs: ChannelGroup(2, 1)(layers.Concatenate()([xs[-1], xs[-2]])),
    "down and up": lambda xs: NearestUpsample()(layers.MaxPooling2D()(conv(xs[-1], 8))),
}


def chain(steps: list[str]) -> Callable[[Any], list[Any]]:
    def build(x: Any) -> list[Any]:
        found = [relu(conv(x, 8)), layers.LeakyReLU(0.1)(conv(x, 8))]
        for step in steps:
            found.append(STEPS[step](found))
        return [conv(found[-1], 3), conv(found[len(found) // 2], 2, 1)]

    return build


@settings(max_examples=5)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=6), st.integers(0, 99))
def test_the_function_stays_the_same(steps: list[str], seed: int) -> None:
    images = pictures(3, 8, 8)
    model = make(chain(steps), 8, 8, seed)
    exact, plan, seen = prepared(model, images)
    equalise(exact, plan, seen)
    for mine, expected in zip(run(exact, images), run(model, images), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-4 * np.abs(expected).max())


def test_what_it_says_is_seen_now() -> None:
    images = pictures(3, 8, 8)
    steps = ["conv norm leaky", "depthwise", "residual", "concat part", "conv relu6"]
    exact, plan, seen = prepared(make(lambda x: chain(steps)(x), 8, 8), images)
    after = equalise(exact, plan, seen)
    for point, again in observe(exact, plan.inner, images).items():
        size = max(np.abs(again.low).max(), np.abs(again.high).max())
        np.testing.assert_allclose(after[point].low, again.low, atol=2e-4 * size)
        np.testing.assert_allclose(after[point].high, again.high, atol=2e-4 * size)
        np.testing.assert_allclose(after[point].gain, again.gain, rtol=0.02, atol=0.02 * again.gain.max())


@pytest.mark.parametrize("steps", [list(STEPS)[i : i + 5] for i in range(0, len(STEPS), 5)])
def test_any_factors_leave_the_outputs(steps: list[str]) -> None:
    """Random factors, not those that are chosen: a wrong class would show."""
    model = fold_norms(make(chain(steps), 8, 8))
    images = pictures(2, 8, 8)
    before = run(model, images)
    classes = channel_classes(model)
    factors = np.where(classes.frozen, 1.0, np.random.default_rng(0).uniform(0.2, 5, len(classes.frozen)))
    rescale(model, classes, factors)
    assert not classes.frozen.all()
    for mine, expected in zip(run(model, images), before, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-4 * np.abs(expected).max())


def read_by_two(x: Any) -> Any:
    x = layers.LeakyReLU(0.1, name="leaky")(conv(x, 4, name="first"))
    return [conv(x, 3), layers.DepthwiseConv2D(3, name="other")(x)]


@pytest.mark.parametrize(("bias", "flipped"), [(-20.0, True), (20.0, False), (0.0, False)])
def test_always_negative_channels_are_turned(bias: float, flipped: bool) -> None:
    """Every channel has a mean of zero but one."""
    model = make(read_by_two, 8, 8)
    layer = model.get_layer("first")
    kernel, offset = layer.get_weights()
    offset -= np.asarray(layer(pictures(4, 8, 8))).mean((0, 1, 2))
    offset[1] += bias
    layer.set_weights([kernel, offset])
    images = pictures(4, 8, 8)
    exact, _, seen = prepared(model, images)
    signs = flip_negative(exact, seen)
    assert set(signs) == ({"first", "leaky"} if flipped else set())
    if flipped:
        np.testing.assert_allclose(signs["first"], [1, -0.1, 1, 1], rtol=1e-6)
        np.testing.assert_allclose(signs["leaky"], [1, -1, 1, 1])
        np.testing.assert_allclose(exact.get_layer("first").get_weights()[0][..., 1], -0.1 * kernel[..., 1], rtol=1e-6)
    for mine, expected in zip(run(exact, images), run(model, images), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-5 * np.abs(expected).max())


def flat_leaky(x: Any) -> Any:
    return conv(layers.LeakyReLU(0.0)(conv(x, 4, name="first")), 3)


def into_a_sum(x: Any) -> Any:
    a = layers.LeakyReLU(0.1)(conv(x, 4, name="first"))
    return conv(layers.Add()([a, conv(x, 4)]), 3)


def into_an_output(x: Any) -> Any:
    a = layers.LeakyReLU(0.1)(conv(x, 4, name="first"))
    return [a, conv(a, 3)]


@pytest.mark.parametrize("build", [flat_leaky, into_a_sum, into_an_output])
def test_what_must_not_be_turned(build: Callable[[Any], Any]) -> None:
    model = make(build, 8, 8)
    kernel, offset = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel, offset - 20])
    images = pictures(2, 8, 8)
    exact, _, seen = prepared(model, images)
    assert not flip_negative(exact, seen)
    np.testing.assert_array_equal(exact.get_weights()[0], model.get_weights()[0])


def problem(
    random: np.random.Generator, tensors: int, groups: int
) -> tuple[TensorPlan, ChannelClasses, dict[str, Observed]]:
    """Tensors of made channels that share classes and scale groups at random."""
    points = tuple(f"t{i}" for i in range(tensors))
    group = {point: f"t{i % groups}" for i, point in enumerate(points)} | {"image": "image"}
    of = {point: random.integers(0, 3 * tensors, 5) for point in points}
    frozen = random.uniform(size=3 * tensors) < 0.2
    seen = {}
    for point in points:
        size = np.exp(random.normal(0, 2, 5)).astype(np.float32)[None]
        seen[point] = Observed(
            size, -size * random.uniform(0, 1, (1, 5)).astype(np.float32), size, random.exponential(1, 5)
        )
    return TensorPlan(("image", *points), group, {}, ()), ChannelClasses(of, frozen), seen


def noise_of(
    plan: TensorPlan, classes: ChannelClasses, seen: dict[str, Observed], factors: np.ndarray, most: float = 256
) -> float:
    """Gains times squared scales, worked out group by group in the plain way."""
    total = 0.0
    for group, points in plan.members().items():
        if group == "image":
            continue
        sizes = [np.maximum(-seen[p].low.min(0), seen[p].high.max(0)).astype(np.float64) for p in points]
        floor = max(size.max() for size in sizes) / most
        scale = max(
            (np.maximum(size, floor) / factors[classes.of[p]]).max() for p, size in zip(points, sizes, strict=True)
        )
        total += scale**2 * sum(float(seen[p].gain @ factors[classes.of[p]] ** 2) for p in points)
    return total


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 4))
def test_the_chosen_factors_are_never_worse_than_none(seed: int, tensors: int, groups: int) -> None:
    plan, classes, seen = problem(np.random.default_rng(seed), tensors, groups)
    factors = noise_optimal(plan, classes, seen)
    assert (factors > 0).all()
    assert (factors[classes.frozen] == 1).all()
    before = noise_of(plan, classes, seen, np.ones_like(factors))
    assert noise_of(plan, classes, seen, factors) <= before * (1 + 1e-9)


def test_the_best_factors_of_a_single_tensor() -> None:
    """Nothing else holds the channels: each gets the whole scale, whatever its gain."""
    size = np.array([[1.0, 4.0, 0.25]], np.float32)
    plan = TensorPlan(("image", "t"), {"image": "image", "t": "t"}, {}, ())
    classes = ChannelClasses({"t": np.arange(3)}, np.zeros(3, np.bool_))
    seen = {"t": Observed(size, -size, size, np.array([1.0, 5.0, 0.1]))}
    factors = noise_optimal(plan, classes, seen)
    np.testing.assert_allclose(factors / factors[1], [0.25, 1, 0.0625])
    assert noise_of(plan, classes, seen, factors) == pytest.approx(float(np.sum([1, 5, 0.1] * size[0] ** 2)))


def uneven(x: Any) -> Any:
    x = relu(conv(x, 12, name="first"))
    x = relu(layers.DepthwiseConv2D(3, padding="same", name="depth")(x))
    return conv(layers.LeakyReLU(0.1)(conv(x, 12, name="second")), 4, name="head")


def planted(spread: float = 1.5) -> keras.Model:
    """Channels of very different sizes that the next weights undo."""
    model = fold_norms(make(uneven, 16, 16))
    classes = channel_classes(model)
    random = np.random.default_rng(5)
    rescale(model, classes, np.where(classes.frozen, 1, np.exp(random.normal(0, spread, len(classes.frozen)))))
    return model


def simulated_noise(model: keras.Model, plan: TensorPlan, seen: dict[str, Observed], images: np.ndarray) -> float:
    """Mean squared error at the outputs of min-max ranges, weights as they are."""
    ranges = {**choose_ranges(model, plan, seen, "min-max"), "image": (0.0, 1.0)}
    rounded = run(fake_quantise(model, plan, ranges, leave=frozenset({"image"})), images)
    return sum(float(np.mean((a - b) ** 2)) for a, b in zip(rounded, run(model, images), strict=True))


@pytest.mark.parametrize("tempered", [False, True])
def test_measured_noise_falls(tempered: bool) -> None:
    images = pictures(6)
    model, plan, seen = prepared(planted(), images)
    before = simulated_noise(model, plan, seen, images)
    classes = channel_classes(model)
    factors = noise_optimal(plan, classes, seen)
    factors = temper(model, classes, factors) if tempered else factors
    assert (factors[classes.frozen] == 1).all()
    rescale(model, classes, factors)
    after = {name: one.times((1 / factors[classes.of[name]]).astype(np.float32)) for name, one in seen.items()}
    assert simulated_noise(model, plan, after, images) < before / 4


def test_gains_foretell_the_noise() -> None:
    """scale^2 / 12 times the gain of one tensor against what the simulation shows for it."""
    images = pictures(24)
    model, plan, seen = prepared(planted(0.5), images)
    ranges = {**choose_ranges(model, plan, seen, "min-max"), "image": (0.0, 1.0)}
    exact = run(model, images)[0]
    for point in plan.inner:
        low, high = ranges[plan.group[point]]
        foretold = ((high - low) / 255) ** 2 / 12 * seen[point].gain.sum()
        leave = frozenset(plan.points) - {point}
        noise = run(fake_quantise(model, plan, ranges, leave=leave), images)[0] - exact
        measured = float(np.square(noise).sum() / len(images))
        # What a ReLU has set to zero is exact, which the gain does not know.
        least = 0.2 if "re_lu" in point and "leaky" not in point else 0.6
        assert least < measured / foretold < 1.5, point


@pytest.mark.parametrize(
    ("options", "least", "most"), [(PLAIN, -20, 25), (Options(ranges="min-max", refit=False), 28, 60)]
)
def test_planted_outlier_channel(options: Options, least: float, most: float) -> None:
    """Decibels of the file against float: a channel 100 times too large drowns its neighbours, or is repaired."""
    model = fold_norms(make(lambda x: conv(relu(conv(relu(conv(x, 8)), 8, name="big")), 4, name="head"), 16, 16))
    classes = channel_classes(model)
    factors = np.ones(len(classes.frozen))
    factors[classes.of["big"][3]] = 1 / 100
    rescale(model, classes, factors)
    picture = pictures(8)[7]
    found, _ = run_file(int8_file(quantised(model, options)), picture)["out0"]
    assert least < decibels(run(model, picture[None])[0], found) < most
