"""The layers of quantisation-aware training, against plain NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convert.train.fake_quant import (
    MovingRange,
    RoundedConv2D,
    RoundedDepthwiseConv2D,
    quantise_activations,
    quantise_weights,
)

FLOATS = st.floats(-50, 50, width=32)
KERNELS = hnp.arrays(np.float32, (2, 2, 3, 4), elements=FLOATS)


def array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def ends_of(layer: MovingRange) -> tuple[float, float]:
    return float(array(layer.low)[0]), float(array(layer.high)[0])


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 1), None])
@settings(max_examples=40)
@given(KERNELS)
def test_weights_lie_on_the_nearest_step(axes: tuple[int, ...] | None, kernel: np.ndarray) -> None:
    rounded = array(quantise_weights(kernel, axes)).astype(np.float64)
    largest = np.broadcast_to(np.abs(kernel).max(axis=axes, keepdims=True), kernel.shape).astype(np.float64)
    scale = np.where(largest > 1e-20, largest / 127, 1.0)
    steps = rounded / scale
    assert np.abs(steps - np.round(steps)).max() < 1e-3
    assert np.abs(steps).max() <= 127.001
    assert np.all(np.abs(rounded - kernel) <= scale * 0.5001)
    assert np.all(rounded[kernel == 0] == 0)
    top = (np.abs(kernel) == largest) & (largest > 1e-20)
    np.testing.assert_allclose(rounded[top], kernel[top], rtol=1e-6)


RANGES = st.tuples(st.floats(-20, 0, width=32), st.floats(0, 20, width=32)).filter(lambda ends: ends[1] - ends[0] > 0.1)


@settings(max_examples=80)
@given(hnp.arrays(np.float32, 30, elements=FLOATS), RANGES)
def test_activations_lie_on_256_steps_around_an_exact_zero(values: np.ndarray, ends: tuple[float, float]) -> None:
    values[0] = 0.0
    low, high = ends
    found = array(quantise_activations(values, np.float32(low), np.float32(high))).astype(np.float64)
    scale = (high - low) / 255
    steps = found / scale
    assert np.abs(steps - np.round(steps)).max() < 1e-2
    assert found[0] == 0
    # The whole range keeps its width; zero moves it by half a step at most.
    assert found.min() >= low - 0.51 * scale
    assert found.max() <= high + 0.51 * scale
    inside = (values > low + scale) & (values < high - scale)
    assert np.all(np.abs(found - values)[inside] <= 0.501 * scale)
    assert np.all(np.abs(found - np.clip(values, low, high)) <= 1.02 * scale)


def test_activations_agree_with_tensorflows_own_kernel() -> None:
    values = np.random.default_rng(0).normal(0, 3, 10_000).astype(np.float32)
    for low, high in ((-2.0, 5.0), (0.0, 6.0), (-7.3, 0.4), (-1.0, 0.9921875)):
        wanted = tf.quantization.fake_quant_with_min_max_args(values, low, high).numpy()
        found = array(quantise_activations(values, np.float32(low), np.float32(high)))
        # Halves may be rounded to the other side.
        differs = np.abs(found - wanted) > 1e-5
        assert differs.mean() < 1e-3
        assert np.abs(found - wanted).max() <= 1.001 * (high - low) / 255


@pytest.mark.parametrize(
    ("value", "slope"), [(-1.5, 0.0), (-0.9, 1.0), (0.0, 1.0), (0.123, 1.0), (2.9, 1.0), (3.5, 0.0), (100.0, 0.0)]
)
def test_gradient_passes_inside_the_range_alone(value: float, slope: float) -> None:
    point = tf.Variable([value, 0.5])
    with tf.GradientTape() as tape:
        result = tf.reduce_sum(quantise_activations(point, -1.0, 3.0) * [2.0, 0.0])
    assert tape.gradient(result, point).numpy().tolist() == [2.0 * slope, 0.0]


def test_gradient_of_weights_passes_unchanged() -> None:
    kernel = tf.Variable(np.random.default_rng(1).normal(size=(3, 3, 2, 4)).astype(np.float32))
    factors = np.random.default_rng(2).normal(size=kernel.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        result = tf.reduce_sum(quantise_weights(kernel, (0, 1, 2)) * factors)
    np.testing.assert_array_equal(tape.gradient(result, kernel).numpy(), factors)


@pytest.mark.parametrize("per_tensor", [False, True])
def test_convolutions_use_rounded_kernels(per_tensor: bool) -> None:
    random = np.random.default_rng(3)
    image = random.normal(size=(2, 8, 8, 3)).astype(np.float32)
    pairs: list[tuple[Any, Any, dict[str, int], tuple[int, ...]]] = [
        (keras.layers.Conv2D, RoundedConv2D, {"filters": 5}, (0, 1, 2)),
        (keras.layers.DepthwiseConv2D, RoundedDepthwiseConv2D, {"depth_multiplier": 2}, (0, 1)),
    ]
    for plain, rounded, shape, axes in pairs:
        options = {"kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu", **shape}
        one, other = plain(**options), rounded(**options, per_tensor=per_tensor)
        one.build(image.shape)
        other.build(image.shape)
        kernel = random.normal(size=one.kernel.shape).astype(np.float32) * random.uniform(0.1, 3, one.kernel.shape[-1])
        bias = random.normal(size=one.bias.shape).astype(np.float32)
        scale = np.abs(kernel).max(axis=None if per_tensor else axes, keepdims=True) / 127
        one.set_weights([np.round(kernel / scale) * scale, bias])
        other.set_weights([kernel, bias])
        np.testing.assert_allclose(array(other(image)), array(one(image)), rtol=1e-4, atol=1e-4)
        # What is stored stays float, and a copy made of the configuration rounds alike.
        np.testing.assert_array_equal(other.get_weights()[0], kernel.astype(np.float32))
        assert rounded.from_config(other.get_config()).per_tensor is per_tensor


def test_range_follows_batches_until_it_is_frozen() -> None:
    layer = MovingRange(momentum=0.75)
    batches = [np.array([low, 0.5, high], np.float32) for low, high in ((-1, 4), (-3, 8), (1, 2), (-100, 100))]
    layer(batches[0], training=True)
    assert ends_of(layer) == (-1, 4)
    layer(batches[1], training=True)
    assert ends_of(layer) == (-1.5, 5)
    layer(batches[2], training=True)
    assert ends_of(layer) == (-1.0, 4.25)
    # Neither looking nor training moves it any more.
    layer(batches[3], training=False)
    layer.moving.assign([0.0])
    layer(batches[3], training=True)
    assert ends_of(layer) == (-1.0, 4.25)
    found = array(layer(batches[3]))
    scale = (4.25 + 1.0) / 255
    np.testing.assert_allclose(found, [-1.0, 0.5, 4.25], atol=0.51 * scale)


def test_members_share_the_widest_range() -> None:
    layer = MovingRange(2, momentum=0.5)
    layer(np.array([1.0, 2.0], np.float32), member=0, training=True)
    layer(np.array([-8.0, 1.0], np.float32), member=1, training=True)
    assert array(layer.low).tolist() == [1, -8]
    assert array(layer.high).tolist() == [2, 1]
    scale = 10 / 255
    assert array(layer(np.array([-20, 20], np.float32), member=0)) == pytest.approx([-8, 2], abs=scale)


def test_fixed_range_never_moves() -> None:
    layer = MovingRange(fixed=True)
    layer.low.assign([-1.0])
    layer.high.assign([1.0])
    layer(np.array([-5.0, 5.0], np.float32), training=True)
    assert ends_of(layer) == (-1, 1)
