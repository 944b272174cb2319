"""Taking channels out: a smaller network of the same shape of graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.graph import ChannelGraph, Keep
from convert.prune.network import Config, configuration, copied, rebuilt
from convert.prune.rules import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from runtime.errors import InputError

Arrays = list[npt.NDArray[Any]]


def remove(graph: ChannelGraph, keep: Keep) -> keras.Model:
    """The network without some channels; nothing else changes.

    What is left computes what the whole network computes with zeros in the place of these channels, wherever they are
    read.

    Args:
        graph: The network's channels; its model is not changed.
        keep: ``(classes,)``, which stay. Classes that must stay do.

    Returns:
        A new model with layers of the same names; not compiled.

    Raises:
        InputError: A layer would be left without channels, or cannot be copied.
    """
    keep = keep | ~graph.free()
    for layer, made in graph.makers():
        if not keep[made].any():
            raise InputError(
                f"{layer.name} would lose all of its {len(made)} channels",
                "expected one to stay at least",
                "remove fewer channels",
            )
    built: list[tuple[Any, Arrays]] = []

    def copy(operation: Any, _: str) -> Any:
        reads, makes = keep[graph.reads[operation.name]], keep[graph.makes[operation.name]]
        config, arrays = cut(operation, reads, makes)
        built.append((copied(operation, config), arrays))
        return built[-1][0]

    smaller = rebuilt(graph.model, copy)
    for layer, arrays in built:
        if arrays:
            layer.set_weights(arrays)
    return smaller


def cut(layer: Any, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    """Configuration and weights of a layer for fewer channels.

    Args:
        layer: A built layer, or an operation of ``keras.ops``.
        reads: Which of the channels it takes in stay.
        makes: Which of those it gives stay.
    """
    config = configuration(layer)
    arrays = layer.get_weights() if isinstance(layer, keras.Layer) else []
    if reads.all() and makes.all():
        return config, arrays
    if not isinstance(layer, keras.Layer):
        return _operation(config, makes), arrays
    for kinds, knife in _KNIVES:
        if isinstance(layer, kinds):
            return knife(config, arrays, reads, makes)
    return config, arrays


def _convolution(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    kernel, *bias = arrays
    groups, filters = config.get("groups", 1), config["filters"]
    if groups == 1:
        kernel = kernel[..., reads, :]
    config["filters"] = int(makes.sum())
    config["groups"] = groups if groups == 1 else config["filters"] * groups // filters
    return config, [kernel[..., makes], *(each[makes] for each in bias)]


def _transposed(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    kernel, *bias = arrays
    config["filters"] = int(makes.sum())
    return config, [kernel[..., makes, :][..., reads], *(each[makes] for each in bias)]


def _depthwise(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    kernel, *bias = arrays
    return config, [kernel[..., reads, :], *(each[makes] for each in bias)]


def _separable(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    depthwise, pointwise, *bias = arrays
    between = np.repeat(reads, config["depth_multiplier"])
    config["filters"] = int(makes.sum())
    pointwise = pointwise[..., between, :][..., makes]
    return config, [depthwise[..., reads, :], pointwise, *(each[makes] for each in bias)]


def _dense(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    kernel, *bias = arrays
    config["units"] = int(makes.sum())
    return config, [kernel[reads][:, makes], *(each[makes] for each in bias)]


def _last_axis(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    # One number for all channels stays as it is.
    return config, [each[..., makes] if each.shape[-1] == len(makes) else each for each in arrays]


def _reshape(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    return config | {"target_shape": (*config["target_shape"][:-1], int(makes.sum()))}, arrays


def _operation(config: Config, makes: Keep) -> Config:
    # Of all operations, reshaping alone names a number of channels.
    if "newshape" in config:
        config["newshape"] = (*config["newshape"][:-1], int(makes.sum()))
    return config


Knife = Callable[[Config, Arrays, Keep, Keep], tuple[Config, Arrays]]
_KNIVES: tuple[tuple[tuple[type, ...], Knife], ...] = (
    (DEPTHWISE, _depthwise),
    (TRANSPOSED, _transposed),
    (SEPARABLE, _separable),
    (CONVOLUTIONS, _convolution),
    ((keras.layers.Dense,), _dense),
    ((keras.layers.BatchNormalization, keras.layers.PReLU), _last_axis),
    ((keras.layers.Reshape,), _reshape),
)
