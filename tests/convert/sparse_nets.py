"""A network with layers that may be sparse and layers that may not, and a look at its weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tests.convert.small_nets import conv, relu

layers = keras.layers


def norm(x: Any, name: str | None = None) -> Any:
    return layers.BatchNormalization(name=name)(x)


def mobile(x: Any) -> Any:
    """Every kind of layer that matters; input channels of 8, 12, 16 and, behind the join, 22."""
    x = relu(norm(conv(x, 8, strides=2, use_bias=False, name="first")), 6.0)
    before = x
    x = relu(norm(conv(x, 12, 1, use_bias=False, name="expand")), 6.0)
    x = relu(norm(layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)), 6.0)
    x = layers.Add()([before, norm(conv(x, 8, 1, use_bias=False, name="project"))])
    x = layers.LeakyReLU(0.1)(norm(conv(x, 16, name="wide")))
    y = layers.LeakyReLU(0.1)(norm(conv(x, 6, 1, name="narrow")))
    x = layers.Concatenate()([x, relu(conv(y, 6, name="small"))])
    return [conv(x, 4, 1, name="box"), relu(conv(relu(conv(x, 7, 1, name="hidden")), 5, 1, name="score"))]


# Those of its layers that may be sparse.
SPARSE = {"expand", "project", "wide", "narrow", "small", "hidden"}


def kernel(model: keras.Model, name: str) -> np.ndarray:
    return np.asarray(model.get_layer(name).get_weights()[0])


def fours(weights: np.ndarray) -> Iterator[np.ndarray]:
    """Every group of neighbours along the second last axis; the last may be shorter."""
    rows = weights.swapaxes(-1, -2).reshape(-1, weights.shape[-2])
    for row in rows:
        for start in range(0, len(row), 4):
            yield row[start : start + 4]
