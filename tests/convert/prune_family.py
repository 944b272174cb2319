"""A small network with everything that ties channels together, and an independent count of a network's work."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from convert.prune.graph import ChannelGraph, Keep
from tests.convert.small_nets import conv, make, relu

layers = keras.layers


def norm(x: Any, name: str | None = None) -> Any:
    return layers.BatchNormalization(name=name)(x)


def mixed(image: Any) -> Any:
    """A residual sum, a depthwise convolution, a concatenation of uneven parts, and a layer that is applied twice."""
    stem = relu(norm(conv(image, 16, strides=2, use_bias=False, name="stem"), "stem_norm"))
    x = relu(norm(layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(stem)))
    x = layers.Add(name="sum")([stem, norm(conv(x, 16, 1, name="point"))])
    left, right = relu(conv(x, 8, 1, name="left")), relu(conv(x, 16, 3, name="right"))
    shared = layers.Conv2D(24, 3, padding="same", name="shared")
    x = relu(shared(relu(shared(layers.Concatenate(name="parts")([left, right])))))
    return conv(x, 5, 1, name="head")


def rare(image: Any) -> Any:
    """Grouped, transposed and separable convolutions, and dense layers behind a flattened picture."""
    x = relu(conv(image, 16, strides=4, name="stem"))
    x = relu(conv(x, 32, groups=4, name="groups"))
    x = relu(layers.SeparableConv2D(24, 3, padding="same", depth_multiplier=2, name="separable")(x))
    x = relu(layers.Conv2DTranspose(8, 2, strides=2, name="transposed")(x))
    x = layers.Dense(16, activation="relu", name="dense_map")(x)
    x = layers.Dense(24, activation="relu", name="dense")(layers.Flatten(name="flat")(x))
    return layers.Dense(4, name="head")(x)


def chain(image: Any) -> Any:
    """Three convolutions with folded normalisation and nothing that ties them."""
    x = relu(norm(conv(image, 16, strides=2, use_bias=False, name="one"), "one_norm"))
    x = relu(conv(x, 24, name="two"))
    return conv(x, 4, 1, name="head")


def counted(model: keras.Model) -> int:
    """Multiply-accumulates, from the weights each place multiplies: no channel is looked at."""
    total = 0
    for layer in model.layers:
        if not layer.weights or isinstance(layer, layers.BatchNormalization):
            continue
        kernels = [math.prod(v.shape) for v in layer.weights if len(v.shape) > 1]
        for node in layer._inbound_nodes:
            across = node.input_tensors if isinstance(layer, layers.Conv2DTranspose) else node.output_tensors
            total += sum(kernels) * math.prod(across[0].shape[1:-1])
    return total


def scattered(graph: ChannelGraph, share: float, seed: int) -> Keep:
    """Some classes at random, at least one of every layer."""
    random = np.random.default_rng(seed)
    keep: Keep = (random.random(graph.classes) < share) | ~graph.free()
    for _, made in graph.makers():
        keep[random.choice(made)] = True
    return keep


__all__ = ["chain", "counted", "make", "mixed", "norm", "rare", "scattered"]
