"""A leaky ReLU between narrow convolutions, written as two ReLUs.

TensorFlow Lite does not fuse a leaky ReLU into the convolution before it: the tensor in between is rounded, and then
the tensor behind again, with one scale for a channel's large positive numbers and its small negative ones. But

    leaky(x) = relu(x) - slope * relu(-x)

so a convolution with twice the filters, ``W`` and ``-W``, and a ReLU, which is fused, does the same for a convolution
that reads both halves with ``V`` and ``-slope * V``. There is one tensor instead of two, and each half has a factor of
its own when channels are equalised. Kernels compute eight to sixteen output channels at once, so where there are no
more than eight, twice as many cost next to nothing, and the pass of the leaky ReLU is saved.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from convert.quantize.graph import followers, is_convolution, is_depthwise, outputs_of

# XNNPACK's int8 kernels make at least this many output channels at a time on every board.
_MOST_CHANNELS = 8


def split_leaky(model: keras.Model, multiple: int = 1) -> keras.Model:
    """The same function with narrow leaky ReLUs as two ReLUs.

    Args:
        model: Without batch normalisation, every convolution with a bias; it is not changed.
        multiple: Only where the number of channels is a multiple of this. Input channels that are sparse in groups of
            four stay so behind whole groups only.
    """
    chosen = {name: leaky for name, leaky in _fitting(model) if not model.get_layer(name).filters % multiple}
    if not chosen:
        return model
    leaky = {layer.name: layer for layer in chosen.values()}
    readers = {reader.name: layer for layer in leaky.values() for reader in followers(layer)}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in chosen:
            config = layer.get_config()
            return keras.layers.Conv2D.from_config({**config, "filters": 2 * config["filters"]})(*args, **kwargs)
        if layer.name in leaky:
            return keras.layers.ReLU(name=layer.name)(*args, **kwargs)
        if layer.name in readers:
            return type(layer).from_config(layer.get_config())(*args, **kwargs)
        return layer(*args, **kwargs)

    result = keras.models.clone_model(model, call_function=call)
    for layer in result.layers:
        if not layer.weights:
            continue
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in readers:
            slope = float(readers[layer.name].negative_slope)
            weights[0] = np.concatenate([weights[0], -slope * weights[0]], axis=2)
        if layer.name in chosen:
            weights = [np.concatenate([each, -each], axis=-1) for each in weights]
        layer.set_weights(weights)
    return result


def _fitting(model: keras.Model) -> list[tuple[str, Any]]:
    """Names of convolutions whose leaky ReLU can be split, with the leaky ReLU."""
    ends, found = outputs_of(model), []
    for layer in model.layers:
        if not _is_plain(layer) or layer.filters > _MOST_CHANNELS or layer.name in ends:
            continue
        behind = followers(layer)
        if len(behind) == 1 and isinstance(behind[0], keras.layers.LeakyReLU) and behind[0].name not in ends:
            readers = followers(behind[0])
            if readers and all(_is_plain(reader) for reader in readers):
                found.append((layer.name, behind[0]))
    return found


def _is_plain(layer: Any) -> bool:
    return is_convolution(layer) and not is_depthwise(layer) and layer.groups == 1
