"""The whole post-training pipeline on small networks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from convert.quantize.channels import channel_classes
from convert.quantize.equalise import rescale
from convert.quantize.fold import fold_norms
from convert.quantize.ptq import DEFAULT, PLAIN, Options, Quantized
from tests.convert.small_nets import conv, decibels, int8_file, make, pictures, quantised, read_ops, relu, run, run_file

layers = keras.layers


def hard(x: Any) -> Any:
    """Norms, leaky and depthwise layers, a concatenation, two heads."""
    x = layers.LeakyReLU(0.1)(layers.BatchNormalization()(conv(x, 8, strides=2, use_bias=False)))
    y = relu(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)))
    y = layers.LeakyReLU(0.1)(layers.BatchNormalization()(conv(y, 8, use_bias=False)))
    both = layers.Concatenate()([x, y])
    return [conv(both, 4, 1), conv(relu(conv(both, 8)), 3, 1)]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Its channels differ in size by factors of up to some dozens."""
    net = fold_norms(make(hard, 24, 24))
    classes = channel_classes(net)
    sizes = np.exp(np.random.default_rng(3).normal(0, 1.3, len(classes.frozen)))
    rescale(net, classes, np.where(classes.frozen, 1, sizes))
    return net


@pytest.fixture(scope="module")
def nets(model: keras.Model) -> dict[str, Quantized]:
    return {"default": quantised(model, DEFAULT, pictures(12, 24, 24)), "plain": quantised(model, PLAIN)}


@pytest.fixture(scope="module")
def files(nets: dict[str, Quantized]) -> dict[str, bytes]:
    return {name: int8_file(net) for name, net in nets.items()}


@pytest.mark.parametrize("name", ["default", "plain"])
def test_the_file_does_what_the_simulation_does(name: str, nets: dict[str, Quantized], files: dict[str, bytes]) -> None:
    simulation = nets[name].simulation()
    for picture in pictures(4, 24, 24, seed=9):
        found = run_file(files[name], picture)
        for index, expected in enumerate(run(simulation, picture[None])):
            values, scale = found[f"out{index}"]
            apart = np.abs(values - expected) / scale
            # Channels that differ so much make many steps of one, where nothing evens them out.
            assert apart.max() < (2.01 if name == "default" else 16)
            assert apart.mean() < (0.5 if name == "default" else 2)


def test_the_default_is_better(model: keras.Model, files: dict[str, bytes]) -> None:
    """By more than six decibels on every head, on pictures it has not seen."""
    for index in range(2):
        real, found = [], {name: [] for name in files}  # type: list[np.ndarray], dict[str, list[np.ndarray]]
        for picture in pictures(6, 24, 24, seed=9):
            real.append(run(model, picture[None])[index])
            for name, data in files.items():
                found[name].append(run_file(data, picture)[f"out{index}"][0])
        noise = {name: decibels(np.stack(real), np.stack(found[name])) for name in files}
        assert noise["default"] > noise["plain"] + 6
        assert noise["default"] > 30


def test_size_and_ops_are_those_of_plain_quantisation(files: dict[str, bytes]) -> None:
    ops = {name: sorted(op.name for op in read_ops(data)) for name, data in files.items()}
    assert ops["default"] == ops["plain"]
    assert abs(len(files["default"]) - len(files["plain"])) < 512


def test_the_same_input_gives_the_same_bytes(model: keras.Model, files: dict[str, bytes]) -> None:
    assert int8_file(quantised(model, DEFAULT, pictures(12, 24, 24))) == files["default"]


def test_exact_is_exact_and_the_model_is_left_alone(model: keras.Model, nets: dict[str, Quantized]) -> None:
    images = pictures(3, 24, 24, seed=9)
    weights = model.get_weights()
    net = quantised(model, Options(refit=False))
    for mine, kept in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, kept)
    for exact in (net.exact, nets["default"].exact, nets["plain"].exact):
        for mine, expected in zip(run(exact, images), run(model, images), strict=True):
            np.testing.assert_allclose(mine, expected, atol=1e-4 * np.abs(expected).max())


def test_equalised_weights_only_where_it_was_asked_for(model: keras.Model, nets: dict[str, Quantized]) -> None:
    assert np.allclose(nets["plain"].exact.get_weights()[0], model.get_weights()[0])
    assert not np.allclose(nets["default"].exact.get_weights()[0], model.get_weights()[0])


def test_parts_of_the_simulation(nets: dict[str, Quantized]) -> None:
    """With all tensors left float, only the weights' rounding is there."""
    net, images = nets["plain"], pictures(2, 24, 24, seed=9)
    free = run(net.simulation(leave=frozenset(net.plan.points)), images)
    for mine, expected in zip(free, run(net.model, images), strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-6)
    assert not np.allclose(free[0], run(net.simulation(), images)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            DEFAULT,
            "int8 post-training: channels equalised, heads split by kind, mse ranges, weights refitted, "
            "per-channel weights",
        ),
        (
            PLAIN,
            "int8 post-training: heads split by kind, min-max ranges, weights rounded to nearest, per-channel weights",
        ),
    ],
)
def test_what_the_card_says(options: Options, text: str) -> None:
    assert options.describe() == text
