"""Folding: the same numbers from a network without normalisation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from convert.quantize.fold import fold_norms, folded
from convert.quantize.graph import is_convolution
from tests.convert.small_nets import Build, conv, make, pictures, run

layers = keras.layers


def norm(x: Any, **options: Any) -> Any:
    return layers.BatchNormalization(**options)(x)


def depthwise(x: Any, multiplier: int = 1, **options: Any) -> Any:
    return layers.DepthwiseConv2D(3, depth_multiplier=multiplier, padding="same", **options)(x)


def shared(x: Any) -> Any:
    tower = layers.Conv2D(5, 3, padding="same", name="tower")
    first = layers.BatchNormalization(name="first")(tower(x))
    second = layers.BatchNormalization(name="second")(tower(layers.MaxPooling2D()(x)))
    return [conv(first), conv(second)]


def norm_is_shared(x: Any) -> Any:
    both = layers.BatchNormalization(name="both")
    return [both(conv(x)), both(conv(x, strides=2))]


def read_twice(x: Any) -> Any:
    x = conv(x)
    return layers.Add()([norm(x, name="stays"), x])


def is_an_output(x: Any) -> Any:
    x = conv(x)
    return [x, norm(x, name="stays")]


CASES: dict[str, tuple[Build, list[str]]] = {
    "conv": (lambda x: norm(conv(x, use_bias=False)), []),
    "conv with bias": (lambda x: norm(conv(x)), []),
    "strides and dilation": (lambda x: norm(conv(norm(conv(x, strides=2)), padding="valid", dilation_rate=2)), []),
    "depthwise": (lambda x: norm(depthwise(norm(conv(x)))), []),
    "depthwise times two": (lambda x: norm(depthwise(norm(conv(x)), 2, use_bias=False)), []),
    "grouped": (lambda x: norm(conv(norm(conv(x)), groups=3)), []),
    "no scale": (lambda x: norm(conv(x), scale=False), []),
    "no centre": (lambda x: norm(conv(x), center=False), []),
    "neither": (lambda x: norm(conv(x), center=False, scale=False, epsilon=0.1), []),
    "behind a pooling": (lambda x: norm(layers.MaxPooling2D()(conv(x)), name="stays"), ["stays"]),
    "behind an activation": (lambda x: norm(conv(x, activation="relu"), name="stays"), ["stays"]),
    "behind the picture": (lambda x: conv(norm(x, name="stays")), ["stays"]),
    "of another axis": (lambda x: norm(conv(x), axis=1, name="stays"), ["stays"]),
    "read twice": (read_twice, ["stays"]),
    "an output": (is_an_output, ["stays"]),
    "convolution shared, norms not": (shared, []),
    "both shared": (norm_is_shared, []),
    "activations inside": (lambda x: conv(conv(conv(x, activation="relu"), activation="relu6"), activation="silu"), []),
    "leaky inside": (lambda x: conv(conv(depthwise(x, activation="leaky_relu"), activation="tanh")), []),
    "dense": (lambda x: layers.Dense(4, activation="softmax")(layers.Flatten()(norm(conv(x)))), []),
}


@pytest.mark.parametrize(("build", "left"), CASES.values(), ids=CASES)
def test_the_same_numbers(build: Build, left: list[str]) -> None:
    model = make(build, 9, 12, batch=None)
    weights = model.get_weights()
    new = fold_norms(model)
    assert [layer.name for layer in new.layers if isinstance(layer, layers.BatchNormalization)] == left
    for layer in new.layers:
        assert len(layer._inbound_nodes) == 1
        if is_convolution(layer):
            assert layer.use_bias
            assert layer.activation is keras.activations.linear
    images = pictures(2, 9, 12)
    for mine, expected in zip(run(new, images), run(model, images), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-5 * np.abs(expected).max())
    for mine, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize(
    ("activation", "kind", "most"),
    [
        ("relu", layers.ReLU, None),
        ("relu6", layers.ReLU, 6.0),
        ("leaky_relu", layers.LeakyReLU, None),
        ("silu", layers.Activation, None),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_activations_become_the_layers_the_rest_knows(
    activation: str, kind: type, most: float | None, inside: bool
) -> None:
    new = fold_norms(
        make(lambda x: conv(x, activation=activation) if inside else layers.Activation(activation)(conv(x)))
    )
    (found,) = [layer for layer in new.layers if type(layer) is kind]
    assert getattr(found, "max_value", None) == most


def test_readers_outside_the_network_do_not_count() -> None:
    """Cutting heads leaves the old ones hanging on the same graph."""
    image = keras.Input((8, 8, 3), batch_size=1)
    x = conv(image)
    conv(x)
    model = keras.Model(image, norm(x))
    assert not [layer for layer in fold_norms(model).layers if isinstance(layer, layers.BatchNormalization)]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_against_the_formula(multiplier: int) -> None:
    """A 1x1 depthwise convolution, channel by channel: gamma (k x + b - mean) / sqrt(variance + epsilon) + beta."""
    model = make(
        lambda x: norm(layers.DepthwiseConv2D(1, depth_multiplier=multiplier, name="conv")(x), epsilon=0.01), 4, 4
    )
    layer, normal = model.layers[1:]
    kernel, bias = layer.get_weights()
    gamma, beta, mean, variance = normal.get_weights()
    new_kernel, new_bias = folded(layer, normal)
    for channel in range(3):
        for copy in range(multiplier):
            at = channel * multiplier + copy
            spread = np.sqrt(np.float64(variance[at]) + 0.01)
            wanted = kernel[0, 0, channel, copy] * gamma[at] / spread
            assert new_kernel[0, 0, channel, copy] == pytest.approx(wanted, rel=1e-5)
            assert new_bias[at] == pytest.approx(gamma[at] * (bias[at] - mean[at]) / spread + beta[at], rel=1e-4)


def test_a_name_that_is_taken() -> None:
    """The second use of ``a`` must not take the name of the layer ``a_2``."""

    def build(x: Any) -> Any:
        shared = layers.Conv2D(3, 1, name="a")
        return layers.Conv2D(3, 1, name="a_2")(shared(shared(x)))

    model = make(build, 4, 4)
    images = pictures(1, 4, 4)
    np.testing.assert_allclose(run(fold_norms(model), images)[0], run(model, images)[0], atol=1e-5)


def test_numbers_too_large_for_float32_are_no_warning() -> None:
    """The line of the error that follows is all a user sees."""
    layer, after = layers.Conv2D(1, 1, use_bias=False), layers.BatchNormalization(epsilon=1e-6)
    make(lambda x: after(layer(x)))
    layer.set_weights([np.full((1, 1, 3, 1), 3e38, np.float32)])
    after.set_weights([np.full(1, value, np.float32) for value in (1, 0, 0, 1e-4)])
    assert np.isinf(folded(layer, after)[0]).all()
