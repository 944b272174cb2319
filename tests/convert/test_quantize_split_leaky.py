"""Leaky ReLUs written as two ReLUs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from convert.quantize.fold import fold_norms
from convert.quantize.split_leaky import split_leaky

layers = keras.layers


def _net(channels: int, reader: Any, slope: float = 0.1) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 10, 3), batch_size=1)
    x = layers.Conv2D(channels, 3, padding="same", name="first", bias_initializer="normal")(image)
    x = layers.LeakyReLU(negative_slope=slope, name="leaky")(x)
    return keras.Model(image, reader(x))


CASES = [
    ("read by a convolution", 8, lambda x: layers.Conv2D(4, 1)(x), True),
    ("read by two", 4, lambda x: [layers.Conv2D(4, 3)(x), layers.Conv2D(2, 1, strides=2)(x)], True),
    ("too wide", 9, lambda x: layers.Conv2D(4, 1)(x), False),
    ("read by a depthwise convolution", 8, lambda x: layers.DepthwiseConv2D(3)(x), False),
    ("read by a grouped convolution", 8, lambda x: layers.Conv2D(4, 1, groups=2)(x), False),
    ("read by a pooling too", 8, lambda x: [layers.Conv2D(4, 1)(x), layers.MaxPooling2D(2)(x)], False),
    ("an output itself", 8, lambda x: [layers.Conv2D(4, 1)(x), x], False),
]


@pytest.mark.parametrize(("name", "channels", "reader", "split"), CASES, ids=[case[0] for case in CASES])
def test_the_function_stays_the_same(name: str, channels: int, reader: Any, split: bool) -> None:
    model = fold_norms(_net(channels, reader))
    changed = split_leaky(model)
    pictures = np.random.default_rng(0).normal(size=(1, 12, 10, 3)).astype(np.float32)
    for before, after in zip(keras.tree.flatten(model(pictures)), keras.tree.flatten(changed(pictures)), strict=True):
        np.testing.assert_allclose(np.asarray(after), np.asarray(before), atol=1e-5)
    assert (changed is not model) == split
    assert any(isinstance(layer, layers.LeakyReLU) for layer in changed.layers) == (not split)
    if split:
        assert changed.get_layer("first").filters == 2 * channels


def test_slopes_differ_from_net_to_net() -> None:
    model = fold_norms(_net(6, lambda x: layers.Conv2D(3, 1)(x), slope=0.3))
    pictures = np.random.default_rng(1).normal(size=(1, 12, 10, 3)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(split_leaky(model)(pictures)), np.asarray(model(pictures)), atol=1e-5)
