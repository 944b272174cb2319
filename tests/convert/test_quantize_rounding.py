"""Weights on int8 steps: always on the grid, better than nearest where inputs are alike, and as the file has them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.quantize.ptq import Quantized
from convert.quantize.rounding import LARGEST, round_nearest, round_weights, weight_scales
from tests.convert.small_nets import conv, int8_file, make, pictures, quantised, read_ops, relu, run, run_file

layers = keras.layers
problems = st.tuples(st.integers(0, 2**32 - 1), st.integers(2, 24), st.integers(1, 6), st.floats(0, 0.99))


def problem(seed: int, inputs: int, outputs: int, alike: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and the second moment of inputs that are more or less alike."""
    random = np.random.default_rng(seed)
    x = np.sqrt(1 - alike) * random.normal(0, 1, (500, inputs)) + np.sqrt(alike) * random.normal(0, 1, (500, 1))
    x *= np.exp(random.normal(0, 0.5, inputs))
    return random.normal(0, 1, (inputs, outputs)), x.T @ x / 500


def steps_of(rounded: np.ndarray) -> np.ndarray:
    """What a converter makes of rounded weights: scale from the largest, steps by division."""
    scale = np.abs(rounded).max(axis=-2, keepdims=True) / 127
    return np.asarray(np.divide(rounded, scale, out=np.zeros_like(rounded), where=scale > 0))


def error(weights: np.ndarray, rounded: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Mean squared change of each output."""
    change = rounded - weights
    return np.asarray(np.einsum("io,ij,jo->o", change, moments, change))


@given(problems)
def test_on_the_steps_that_the_largest_weight_makes(made: tuple[int, int, int, float]) -> None:
    weights, moments = problem(*made)
    for rounded in (round_weights(weights, moments), round_nearest(weights)):
        steps = steps_of(rounded)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
        np.testing.assert_array_equal(np.abs(np.round(steps)).max(axis=0), LARGEST)
        assert (np.abs(rounded).max(axis=0) <= np.abs(weights).max(axis=0) * (1 + 1e-9)).all()


@given(st.integers(0, 2**32 - 1))
def test_nearest_against_numpy(seed: int) -> None:
    weights = np.random.default_rng(seed).normal(0, 1, (9, 4))
    for channel, mine in zip(weights.T, round_nearest(weights).T, strict=True):
        scale = np.abs(channel).max() / 127
        np.testing.assert_allclose(mine, np.rint(channel / scale) * scale, atol=1e-12)


@given(problems)
def test_inputs_that_have_nothing_in_common(made: tuple[int, int, int, float]) -> None:
    """Nothing can be made good by others: each weight goes to its nearest step."""
    weights, _ = problem(*made)
    np.testing.assert_allclose(round_weights(weights, np.eye(len(weights))), round_nearest(weights), atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_inputs_that_are_alike(seed: int) -> None:
    weights, moments = problem(seed, 24, 12, 0.9)
    mine = error(weights, round_weights(weights, moments), moments).sum()
    nearest = error(weights, round_nearest(weights), moments).sum()
    assert mine < 0.9 * nearest


@given(problems)
def test_batched_as_one_by_one(made: tuple[int, int, int, float]) -> None:
    seed, inputs, outputs, alike = made
    several = [problem(seed + at, inputs, outputs, alike) for at in range(3)]
    weights, moments = (np.stack(each) for each in zip(*several, strict=True))
    mine = round_weights(weights, moments)
    for at, (weight, moment) in enumerate(several):
        np.testing.assert_allclose(mine[at], round_weights(weight, moment), atol=1e-9)


def test_channels_and_inputs_of_zeros() -> None:
    weights, moments = problem(0, 6, 3, 0.5)
    weights[:, 1] = 0
    moments[2] = moments[:, 2] = 0
    rounded = round_weights(weights, moments)
    assert np.isfinite(rounded).all()
    assert (rounded[:, 1] == 0).all()
    assert (weight_scales(weights)[[0, 2]] == np.abs(weights).max(0)[[0, 2]] / 127).all()
    np.testing.assert_allclose(round_weights(weights, np.zeros((6, 6))), round_nearest(weights), atol=1e-12)


def mixed(x: Any) -> Any:
    x = relu(conv(x, 8, name="first"))
    x = relu(layers.DepthwiseConv2D(3, padding="same", name="depth")(x), 6.0)
    return [conv(x, 5, 1, name="head"), conv(x, 4, groups=2, name="grouped")]


@pytest.fixture(scope="module")
def net() -> Quantized:
    return quantised(make(mixed, 12, 12))


def test_the_file_has_these_very_steps(net: Quantized) -> None:
    found = [op for op in read_ops(int8_file(net)) if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert len(found) == 4
    # The converter may order the two heads as it likes; their shapes differ.
    wanted = {}
    for name in ("first", "depth", "head", "grouped"):
        kernel = net.model.get_layer(name).get_weights()[0].astype(np.float64)
        outputs = kernel.shape[2] if name == "depth" else kernel.shape[3]
        steps = np.round(steps_of(kernel.reshape(-1, outputs))).reshape(kernel.shape)
        # TensorFlow Lite: (1, h, w, channels) of a depthwise, (outputs, h, w, inputs) of any other.
        stored = steps.transpose(3, 0, 1, 2)
        wanted[stored.shape] = stored, np.abs(kernel.reshape(-1, outputs)).max(0) / 127
    for op in found:
        weights = op.inputs[1]
        assert weights.values is not None
        expected, scales = wanted.pop(weights.values.shape)
        np.testing.assert_array_equal(weights.values, expected)
        np.testing.assert_allclose(weights.scales, scales, rtol=1e-6)
    assert not wanted


def test_zero_channels_survive_the_way_to_the_file() -> None:
    """Weights of zero with a bias, and a whole layer that a ReLU holds at zero: the file must load and agree."""
    model = make(lambda x: conv(relu(conv(relu(conv(x, 4, name="a")), 4, name="dead")), 3), 8, 8)
    kernel, bias = model.get_layer("a").get_weights()
    kernel[..., 0], bias[0] = 0, 0.7
    kernel[..., 1], bias[1] = kernel[..., 1] * 1e-6, 0.7
    model.get_layer("a").set_weights([kernel, bias])
    kernel, bias = model.get_layer("dead").get_weights()
    model.get_layer("dead").set_weights([kernel, bias - 30])
    net = quantised(model)
    picture = pictures(1, 8, 8)
    values, scale = run_file(int8_file(net), picture[0])["out0"]
    assert np.abs(values - run(net.simulation(), picture)[0]).max() <= 2.01 * scale
    assert np.abs(values - run(model, picture)[0]).max() <= 3 * scale
