"""Rounding to int8 in float arithmetic: TensorFlow's op, numpy, and the network that is full of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from convert.quantize.fake_quant import fake_quantise, nudged, round_to, rounded_layer, switches
from convert.quantize.fold import fold_norms
from convert.quantize.tensors import plan_tensors
from tests.convert.small_nets import conv, make, pictures, relu, run

ranges = st.tuples(st.floats(-100, 0), st.floats(0, 100)).filter(lambda ends: ends[1] - ends[0] > 1e-3)


@given(ranges, st.integers(0, 2**32 - 1))
def test_on_the_grid_with_zero_on_it(ends: tuple[float, float], seed: int) -> None:
    values = np.random.default_rng(seed).uniform(1.5 * ends[0] - 1, 1.5 * ends[1] + 1, 200)
    scale, zero = nudged(*ends)
    assert scale == pytest.approx((ends[1] - ends[0]) / 255)
    assert -128 <= zero <= 127
    steps = round_to(values, *ends) / scale + zero
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert steps.min() > -128.01
    assert steps.max() < 127.01
    assert round_to(np.zeros(1), *ends)[0] == 0
    inside = (values > (-128 - zero) * scale) & (values < (127 - zero) * scale)
    assert (np.abs(round_to(values, *ends) - values)[inside] <= scale / 2 * (1 + 1e-9)).all()


@given(ranges, st.integers(0, 2**32 - 1))
def test_as_tensorflow_does_it(ends: tuple[float, float], seed: int) -> None:
    values = np.random.default_rng(seed).uniform(1.5 * ends[0] - 1, 1.5 * ends[1] + 1, 200).astype(np.float32)
    theirs = tf.quantization.fake_quant_with_min_max_args(values, *ends).numpy()
    mine, scale = round_to(values.astype(np.float64), *ends), nudged(*ends)[0]
    # Both the middle between two steps and where zero lies between two are decided by float32's last bit.
    clear = np.abs(values / scale % 1 - 0.5) > 1e-3
    if abs(-ends[0] / scale % 1 - 0.5) > 1e-3:
        np.testing.assert_allclose(mine[clear], theirs[clear], atol=1e-4 * scale)


@pytest.mark.parametrize("steps", [0.5, 1.5, 100.5, 126.5, 127.5])
def test_zero_between_two_steps(steps: float) -> None:
    """An exact half: TensorFlow rounds it upwards."""
    scale = 2.0**-7
    ends = (-steps * scale, (255 - steps) * scale)
    lowest = float(tf.quantization.fake_quant_with_min_max_args(tf.constant([-1e3]), *ends)[0])
    assert nudged(*ends) == (scale, round(-lowest / scale) - 128)


def two_branches(x: Any) -> Any:
    first = keras.layers.LeakyReLU(0.1, name="leaky")(conv(x, name="a"))
    return [conv(first, name="b"), keras.layers.Concatenate()([relu(conv(x, 4, name="c")), x])]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return fold_norms(make(two_branches, 8, 8))


def test_every_tensor_is_rounded(model: keras.Model) -> None:
    plan = plan_tensors(model)
    chosen = {group: (-1.0, 0.5 + index / 10) for index, group in enumerate(plan.members())}
    copy = fake_quantise(model, plan, chosen)
    images = pictures(2, 8, 8)
    probe = keras.Model(copy.input, [copy.get_layer(rounded_layer(point)).output for point in plan.points])
    for point, values in zip(plan.points, run(probe, images), strict=True):
        scale, zero = nudged(*chosen[plan.group[point]])
        steps = values / scale + zero
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
        assert -128 <= steps.min().round() <= steps.max().round() <= 127
    # The picture is rounded once for all who read it, and weights stay as they are.
    assert len([layer for layer in copy.layers if layer.name == rounded_layer("image")]) == 1
    np.testing.assert_array_equal(copy.get_layer("a").get_weights()[0], model.get_layer("a").get_weights()[0])


def test_by_hand() -> None:
    """One convolution's outputs from numpy: rounded picture times weights, rounded."""
    small = fold_norms(make(lambda x: keras.layers.Conv2D(2, 1, name="only")(x), 4, 4))
    plan = plan_tensors(small)
    copy = fake_quantise(small, plan, {"image": (0.0, 1.0), "only": (-1.0, 2.0)})
    images = pictures(2, 4, 4)
    kernel, bias = small.get_layer("only").get_weights()
    expected = round_to(round_to(images, 0, 1) @ kernel[0, 0] + bias, -1.0, 2.0)
    np.testing.assert_allclose(run(copy, images)[0], expected, atol=1e-5)


def test_left_out_and_switched_off_points_stay_float(model: keras.Model) -> None:
    plan = plan_tensors(model)
    chosen = dict.fromkeys(plan.members(), (-1.0, 1.0))
    images = pictures(2, 8, 8)
    exact = run(model, images)
    free = fake_quantise(model, plan, chosen, leave=frozenset(plan.points))
    for mine, expected in zip(run(free, images), exact, strict=True):
        np.testing.assert_array_equal(mine, expected)
    switched = fake_quantise(model, plan, chosen, switch=True)
    assert set(switches(switched)) == set(plan.points)
    all_on = run(switched, images)
    for mine, expected in zip(all_on, run(fake_quantise(model, plan, chosen), images), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
    for variable in switches(switched).values():
        variable.assign(0.0)
    for mine, expected in zip(run(switched, images), exact, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
    switches(switched)["leaky"].assign(1.0)
    only = fake_quantise(model, plan, chosen, leave=frozenset(plan.points) - {"leaky"})
    for mine, expected in zip(run(switched, images), run(only, images), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
    assert not np.allclose(run(only, images)[0], exact[0], atol=1e-4)
