"""Networks of all sorts: they work, or an error names the layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from convert.models.layers import Mish
from convert.quantize.ptq import PLAIN, Options, quantise
from convert.quantize.ranges import input_range
from runtime.card import InputSpec
from runtime.errors import InputError
from tests.convert.small_nets import (
    INT8,
    Build,
    activations,
    conv,
    decibels,
    int8_file,
    make,
    pictures,
    quantised,
    read_ops,
    relu,
    run,
    run_file,
    silent,
)

layers = keras.layers


def squeeze(x: Any) -> Any:
    x = relu(conv(x, 8))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Activation("sigmoid")(conv(relu(conv(gate, 4, 1)), 8, 1))
    return conv(layers.Multiply()([x, gate]), 4)


def kept_norm(x: Any) -> Any:
    return conv(relu(layers.BatchNormalization()(layers.MaxPooling2D()(conv(x)))), 4)


WORKING: dict[str, tuple[Build, tuple[int, int], int | None]] = {
    "flatten and dense": (lambda x: layers.Dense(5)(layers.Flatten()(relu(conv(x, strides=2)))), (12, 12), None),
    "dense with activations": (
        lambda x: layers.Dense(5, activation="softmax")(layers.Dense(8, activation="relu")(layers.Flatten()(conv(x)))),
        (8, 8),
        None,
    ),
    "global average": (lambda x: layers.Dense(5)(layers.GlobalAveragePooling2D()(relu(conv(x)))), (12, 12), 1),
    "squeeze and excite": (squeeze, (12, 12), 1),
    "grouped": (lambda x: conv(relu(conv(relu(conv(x, 8)), 8, groups=4)), 4), (12, 12), None),
    "a norm that stays": (kept_norm, (12, 12), None),
    "activations inside": (lambda x: conv(conv(conv(x, activation="relu"), activation="swish"), 4), (12, 12), None),
    "mish": (lambda x: conv(Mish()(conv(x)), 4), (12, 12), 1),
    "separable": (lambda x: conv(layers.SeparableConv2D(6, 3, activation="relu")(relu(conv(x))), 4), (12, 12), 1),
    "transposed": (lambda x: conv(layers.Conv2DTranspose(6, 2, 2)(relu(conv(x))), 4), (9, 7), 1),
    "odd sizes": (lambda x: conv(layers.MaxPooling2D(padding="same")(relu(conv(x, strides=2))), 4), (13, 9), None),
    "the picture joined": (lambda x: conv(layers.Concatenate()([x, relu(conv(x))]), 4), (8, 8), 1),
    "one layer": (lambda x: conv(x), (8, 8), 1),
    "a layer and its activation": (lambda x: [y := conv(x), relu(y)], (8, 8), 1),
}


@pytest.mark.parametrize(("build", "size", "batch"), WORKING.values(), ids=WORKING)
def test_it_works(build: Build, size: tuple[int, int], batch: int | None) -> None:
    model = make(build, *size, batch=batch)
    data = int8_file(quantised(model, Options(refit=False), pictures(16, *size)))
    ops = read_ops(data)
    assert {tensor.type for tensor in activations(ops)} == {INT8}
    assert "DEQUANTIZE" not in [op.name for op in ops]
    picture = pictures(3, *size, seed=5)[2]
    found = run_file(data, picture)
    for index, expected in enumerate(run(model, picture[None])):
        values, scale = found[f"out{index}"]
        assert values.shape == expected.shape
        # Few outputs vary little: a step or two is as good as it gets there.
        assert decibels(expected, values) > 20 or np.abs(values - expected).max() < 3 * scale


@pytest.mark.parametrize(
    ("scale", "offset"),
    [((1 / 127.5,), (-1.0,)), ((1.0,), (0.0,)), ((1 / 58.4, 1 / 57.1, 1 / 57.4), (-2.12, -2.04, -1.8))],
)
def test_normalisations(scale: tuple[float, ...], offset: tuple[float, ...]) -> None:
    model = make(lambda x: conv(relu(conv(x, 8)), 4), 12, 12)
    spec = InputSpec("image", 12, 12, scale=scale, offset=offset)
    images = (np.round(pictures(8, 12, 12) * 255) * np.asarray(scale) + np.asarray(offset)).astype(np.float32)
    net = quantised(model, images=images[:6], range_=input_range(spec))
    found, _ = run_file(int8_file(net), images[7])["out0"]
    assert decibels(run(model, images[7:])[0], found) > 30


def test_a_sequential_model() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(2, 1)])
    net = quantised(model)
    images = pictures(2, 8, 8)
    np.testing.assert_allclose(run(net.exact, images)[0], run(model, images)[0], atol=1e-4)


def nested(x: Any) -> Any:
    return conv(keras.Sequential([layers.Conv2D(3, 3)], name="inside")(x))


def operation(x: Any) -> Any:
    return conv(keras.ops.add(conv(x), 1.0))


def first_channels(x: Any) -> Any:
    return conv(layers.MaxPooling2D(1, data_format="channels_first", name="turned")(conv(x)))


class Halves(keras.layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return keras.ops.split(inputs, 2, axis=-1)


def two_results(x: Any) -> Any:
    first, _ = Halves(name="halves")(conv(x))
    return conv(first)


def twice(x: Any) -> Any:
    x = layers.Conv2D(3, 1, name="head")(x)
    return [x, x]


REFUSED: dict[str, tuple[Build, str]] = {
    "nested": (nested, "layer 'inside' is a network of its own; expected plain layers"),
    "operation": (operation, r"'add\w*' \(Add\) is an operation, not a layer; expected layers only; write it as"),
    "channels first": (first_channels, "layer 'turned' has channels first; expected data_format='channels_last'"),
    "two results": (two_results, "layer 'halves' has 2 results; expected layers of one result"),
    "twice": (twice, "gives the result of layer 'head' twice; expected different outputs"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_by_name(build: Build, message: str) -> None:
    with pytest.raises(InputError) as caught:
        quantised(make(build, 8, 8))
    caught.match(message)


def two_inputs() -> keras.Model:
    inputs = [keras.Input((8, 8, 3), name="one"), keras.Input((8, 8, 3), name="two")]
    return keras.Model(inputs, layers.Add()(inputs))


def any_size() -> keras.Model:
    image = keras.Input((None, None, 3))
    return keras.Model(image, conv(image))


class Subclassed(keras.Model):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (two_inputs, "the network reads 8x8x3, 8x8x3; expected one picture of fixed height"),
        (any_size, r"the network reads \?x\?x3; expected one picture of fixed height"),
        (Subclassed, "the network is a Subclassed; expected a functional Keras model"),
        (keras.Sequential, "the network is a Sequential; expected a functional Keras model"),
    ],
)
def test_networks_of_another_kind(model: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        quantised(model(), images=pictures(2, 8, 8))
    caught.match(message)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 9, 8, 3), (2, 8, 8, 1)])
def test_pictures_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected at least one of 8x8x3"):
        quantise(make(lambda x: conv(x), 8, 8), (0.0, 1.0), np.zeros(shape, np.float32), PLAIN, progress=silent)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_values_that_are_no_numbers(value: float) -> None:
    model = make(lambda x: conv(layers.Conv2D(4, 3, name="bad")(conv(x, name="good"))), 8, 8)
    kernel, bias = model.get_layer("bad").get_weights()
    kernel[:] = value
    model.get_layer("bad").set_weights([kernel, bias])
    with pytest.raises(InputError, match="layer 'bad' gives infinite values or values that are not numbers"):
        quantised(model)
