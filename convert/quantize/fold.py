"""Batch normalisation folded into the convolutions in front of it, and activations taken out of them.

The int8 network has no batch normalisation: TensorFlow Lite folds it as well. Folding it first lets everything else
(equalising, ranges, rounding) look at the weights the device will hold (Jacob et al., arXiv:1712.05877, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.quantize.graph import followers, is_convolution, is_depthwise, outputs_of

Weights = list[npt.NDArray[np.float32]]


def fold_norms(model: keras.Model) -> keras.Model:
    """The same function with a bias in each convolution instead of a batch normalisation behind it.

    A layer that is applied in several places becomes one layer for each of them, so that each may be quantised in its
    own way. A batch normalisation that follows anything but a convolution of its own stays. The activation inside a
    convolution or dense layer becomes a layer behind it: the tensor between them is int8 too.

    Args:
        model: A functional model of layers with one result each; it is not changed.

    Returns:
        A new model whose convolutions all have a bias and no activation.
    """
    model = _unshared(model)
    norms = _folded_norms(model)
    weights: dict[str, Weights] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in norms.values():
            return args[0]
        config = layer.get_config()
        if is_convolution(layer):
            config["use_bias"] = True
            norm = norms.get(layer.name)
            weights[layer.name] = folded(layer, model.get_layer(norm) if norm else None)
        else:
            weights[layer.name] = layer.get_weights()
        return type(layer).from_config(config)(*args, **kwargs)

    return _rebuilt(model, call, weights)


def _unshared(model: keras.Model) -> keras.Model:
    """One layer for each place where one is applied, and one for each activation."""
    weights: dict[str, Weights] = {}
    taken = {layer.name for layer in model.layers}

    def free(name: str) -> str:
        """The name itself, or with a number where it is used up."""
        found, count = name, 2
        while found in weights or (found != name and found in taken):
            found, count = f"{name}_{count}", count + 1
        return found

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        name = free(layer.name)
        weights[name] = layer.get_weights()
        if isinstance(layer, keras.layers.Activation):
            return _activation(layer.activation, name)(*args, **kwargs)
        config = {**layer.get_config(), "name": name}
        inner = layer.activation if isinstance(layer, _ACTIVATED) else _LINEAR
        if inner in (None, _LINEAR):
            return type(layer).from_config(config)(*args, **kwargs)
        result = type(layer).from_config({**config, "activation": None})(*args, **kwargs)
        behind = free(f"{layer.name}_activation")
        weights[behind] = []
        return _activation(inner, behind)(result)

    return _rebuilt(model, call, weights)


def _activation(function: Any, name: str) -> Any:
    """An activation as the layer that the rest of the quantiser knows."""
    if function is keras.activations.relu:
        return keras.layers.ReLU(name=name)
    if function is keras.activations.relu6:
        return keras.layers.ReLU(6.0, name=name)
    if function is keras.activations.leaky_relu:
        return keras.layers.LeakyReLU(0.2, name=name)
    return keras.layers.Activation(function, name=name)


def _rebuilt(model: keras.Model, call: Callable[..., Any], weights: Mapping[str, Weights]) -> keras.Model:
    """A copy of a network in which ``call`` applies the layers; it fills in the weights by name."""
    copy = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])
    return copy


def folded(layer: Any, norm: Any | None) -> Weights:
    """Kernel and bias of a convolution with its batch normalisation.

    Args:
        layer: The convolution.
        norm: The normalisation that follows, if any.
    """
    kernel, *bias = layer.get_weights()
    offset = bias[0].astype(np.float64) if bias else np.zeros(layer.output.shape[-1])
    if norm is None:
        return [kernel, offset.astype(np.float32)]
    gain = _gain(norm)
    offset = (offset - np.asarray(norm.moving_mean, np.float64)) * gain
    if norm.center:
        offset = offset + np.asarray(norm.beta, np.float64)
    # A depthwise kernel is (height, width, channels, multiplier), and its outputs are channels x multiplier.
    kernel = kernel * (gain.reshape(kernel.shape[2:]) if is_depthwise(layer) else gain)
    # What becomes infinite is told as an error, by layer, when the network is run.
    with np.errstate(over="ignore"):
        return [kernel.astype(np.float32), offset.astype(np.float32)]


def norm_gains(model: keras.Model) -> dict[str, npt.NDArray[np.float64]]:
    """What folding multiplies the weights of each convolution by, by its name: ``(channels,)``; only where it folds."""
    return {name: _gain(model.get_layer(norm)) for name, norm in _folded_norms(model).items()}


def _gain(norm: Any) -> npt.NDArray[np.float64]:
    gain = 1 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    return np.asarray(gain * np.asarray(norm.gamma, np.float64) if norm.scale else gain)


def _folded_norms(model: keras.Model) -> dict[str, str]:
    """Name of each convolution that takes a normalisation in, with the normalisation's name."""
    pairs = {}
    for layer in model.layers:
        norm = norm_behind(model, layer) if is_convolution(layer) else None
        if norm is not None:
            pairs[layer.name] = norm.name
    return pairs


def norm_behind(model: keras.Model, layer: Any) -> Any | None:
    """The batch normalisation that alone reads a convolution, and that can be folded into it."""
    # A layer may also belong to models that were made from this one.
    readers = [reader for reader in followers(layer) if any(reader is each for each in model.layers)]
    if layer.name in outputs_of(model) or len(readers) != 1:
        return None
    norm = readers[0]
    fits = isinstance(norm, keras.layers.BatchNormalization) and norm.axis in (-1, 3)
    alone = len(norm._inbound_nodes) == 1 and getattr(layer, "activation", None) in (None, _LINEAR)
    return norm if fits and alone else None


_LINEAR = keras.activations.linear
_ACTIVATED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
)
