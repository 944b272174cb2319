"""Taking channels out: a smaller network of the same shape of graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.graph import ChannelGraph, Keep
from convert.prune.rules import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED

Arrays = list[npt.NDArray[Any]]
Config = dict[str, Any]


def remove(graph: ChannelGraph, keep: Keep) -> keras.Model:
    """The network without some channels; nothing else changes.

    What is left computes what the whole network computes with zeros in the place of these channels, wherever they are
    read.

    Args:
        graph: The network's channels; its model is not changed.
        keep: ``(classes,)``, which stay. Classes that must stay do.

    Returns:
        A new model with layers of the same names.
    """
    keep = keep | ~graph.free()
    arrays: dict[str, Arrays] = {}

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        # Operations of keras.ops come here too; they have no weights.
        if layer.name in graph.makes and isinstance(layer, keras.layers.Layer):
            config, arrays[layer.name] = cut(layer, keep[graph.reads[layer.name]], keep[graph.makes[layer.name]])
        return type(layer).from_config(config)

    smaller = keras.models.clone_model(graph.model, clone_function=clone)
    for layer in smaller.layers:
        if layer.weights:
            layer.set_weights(arrays[layer.name])
    return smaller


def cut(layer: Any, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    """Configuration and weights of a layer for fewer channels.

    Args:
        layer: A built layer.
        reads: Which of the channels it takes in stay.
        makes: Which of those it gives stay.
    """
    config, arrays = dict(layer.get_config()), layer.get_weights()
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
    return config, [each[..., makes] for each in arrays]


def _reshape(config: Config, arrays: Arrays, reads: Keep, makes: Keep) -> tuple[Config, Arrays]:
    if not makes.all():
        config["target_shape"] = (*config["target_shape"][:-1], int(makes.sum()))
    return config, arrays


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
