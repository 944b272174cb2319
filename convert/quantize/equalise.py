"""Channel equalisation: the same function, with channels of similar size.

An int8 activation tensor has one scale for all its channels, so a channel that stays small next to a large one is
left with a few steps. Between a convolution and the convolutions that read it, each channel can be divided by any
positive number and multiplied back by the next weights, because the layers in between (leaky ReLU, ReLU, pooling,
padding, upsampling) commute with positive factors (Nagel et al., "Data-Free Quantization", arXiv:1906.04721, section
4.1). Weights have a scale per output channel and bear the shift better than activations, so most of it goes there
(Xiao et al., "SmoothQuant", arXiv:2211.10438, equation 4, with its alpha). It costs nothing at run time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.models.layers import EdgePadding, NearestUpsample
from convert.source import SourceModel

# Share of a channel's excess that moves into the next weights; anything from 0.5 to 0.9 works about as well.
_ALPHA = 0.7
# Ranges settle early, and every picture is a pass through the float network.
_MAX_SAMPLES = 64
# A channel that hardly ever fires must not be blown up without bounds.
_MAX_FACTOR = 256.0

_COMMUTING = (
    keras.layers.Dropout,
    keras.layers.MaxPooling2D,
    keras.layers.ZeroPadding2D,
    NearestUpsample,
    EdgePadding,
)

Channels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """A convolution and the convolutions that alone read it.

    Attributes:
        first: The convolution.
        norm: Its batch normalisation, if any.
        tensor: The layer whose output is quantised with one scale: in front of a leaky ReLU, which TensorFlow Lite
            keeps as an op of its own, behind a ReLU, which it fuses.
        readers: Convolutions that take the channels in.
    """

    first: keras.layers.Layer
    norm: keras.layers.Layer | None
    tensor: keras.layers.Layer
    readers: tuple[keras.layers.Layer, ...]


def equalise(source: SourceModel, samples: npt.NDArray[np.float32]) -> SourceModel:
    """A network that computes the same with channels of similar size.

    Args:
        source: The network; it is not changed.
        samples: Calibration inputs, ``(n, height, width, 3)`` float32.

    Returns:
        The same network with other weights.
    """
    model = keras.models.clone_model(source.model)
    model.set_weights(source.model.get_weights())
    pairs = list(find_pairs(model))
    if not pairs:
        return source
    for pair, largest in zip(pairs, _largest(model, pairs, samples[:_MAX_SAMPLES]), strict=True):
        factors = channel_factors(largest, _reader_range(pair))
        _divide(pair, factors)
        for reader in pair.readers:
            kernel, *rest = reader.get_weights()
            reader.set_weights([kernel * factors[:, None], *rest])
    return dataclasses.replace(source, model=model)


def find_pairs(model: keras.Model) -> Iterator[Pair]:
    """All convolutions whose channels may be rescaled, in network order."""
    ends = {tensor._keras_history.operation.name for tensor in model.outputs}
    for layer in model.layers:
        if _is_convolution(layer) and _used_once(layer):
            pair = _pair_of(layer, ends)
            if pair is not None:
                yield pair


def channel_factors(largest: Channels, reader_range: Channels | None) -> Channels:
    """What each channel is divided by.

    Args:
        largest: Largest magnitude of each channel.
        reader_range: Largest weight that reads each channel; ``None`` when every reader is depthwise, whose weights
            have a scale per channel and bear any factor.

    Returns:
        Positive factors whose geometric mean is 1 before clipping.
    """
    size = np.maximum(largest.astype(np.float64), 1e-6 * largest.max() + 1e-30)
    if reader_range is None or not reader_range.max():
        factors = size
    else:
        weights = np.maximum(reader_range.astype(np.float64), 1e-6 * reader_range.max())
        factors = size**_ALPHA / weights ** (1 - _ALPHA)
    factors /= np.exp(np.log(factors).mean())
    return np.asarray(np.clip(factors, 1 / _MAX_FACTOR, _MAX_FACTOR), np.float32)


def _is_convolution(layer: Any) -> bool:
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))


def _used_once(layer: Any) -> bool:
    """Whether a layer is applied in one place alone; one shared between heads cannot suit the factors of each."""
    return len(layer._inbound_nodes) == 1


def _followers(layer: Any) -> list[Any]:
    return [node.operation for node in layer._outbound_nodes]


def _pair_of(first: Any, ends: set[str]) -> Pair | None:
    """Follows a convolution's output to its readers; ``None`` when something else reads it too."""
    last, norm = first, None
    if _only_follower(last, keras.layers.BatchNormalization, ends):
        last = norm = _followers(last)[0]
    tensor = last
    if _only_follower(last, keras.layers.LeakyReLU, ends):
        last = _followers(last)[0]
    elif _only_follower(last, keras.layers.ReLU, ends) and _followers(last)[0].max_value is None:
        last = tensor = _followers(last)[0]
    readers = _readers(last, ends)
    return Pair(first, norm, tensor, tuple(readers)) if readers else None


def _only_follower(layer: Any, kind: type, ends: set[str]) -> bool:
    followers = _followers(layer)
    alone = layer.name not in ends and len(followers) == 1
    return alone and isinstance(followers[0], kind) and _used_once(followers[0])


def _readers(layer: Any, ends: set[str]) -> list[Any]:
    """The convolutions that read a layer through commuting layers alone; empty when there is any other way out."""
    readers, open_ = [], [layer]
    while open_:
        current = open_.pop()
        if current.name in ends:
            return []
        for follower in _followers(current):
            if not _used_once(follower):
                return []
            if isinstance(follower, _COMMUTING):
                open_.append(follower)
            elif _is_convolution(follower) and getattr(follower, "groups", 1) == 1:
                readers.append(follower)
            else:
                return []
    return readers


def _largest(model: keras.Model, pairs: list[Pair], samples: npt.NDArray[np.float32]) -> list[Channels]:
    """Largest magnitude per channel of each pair's tensor over all samples."""
    probe = keras.Model(model.input, [pair.tensor.output for pair in pairs])
    largest: list[Any] = [0.0] * len(pairs)
    for sample in samples:
        for index, output in enumerate(keras.tree.flatten(probe.predict_on_batch(sample[None]))):
            largest[index] = np.maximum(largest[index], np.abs(np.asarray(output)).max(axis=(0, 1, 2)))
    return largest


def _reader_range(pair: Pair) -> Channels | None:
    ranges = [
        np.abs(reader.get_weights()[0]).max(axis=(0, 1, 3))
        for reader in pair.readers
        if not isinstance(reader, keras.layers.DepthwiseConv2D)
    ]
    return np.max(ranges, axis=0) if ranges else None


def _divide(pair: Pair, factors: Channels) -> None:
    """Divides the output of a convolution, in its batch normalisation where it has one."""
    if pair.norm is not None:
        gamma, beta, *statistics = pair.norm.get_weights()
        pair.norm.set_weights([gamma / factors, beta / factors, *statistics])
        return
    kernel, *bias = pair.first.get_weights()
    if isinstance(pair.first, keras.layers.DepthwiseConv2D):
        kernel = kernel / factors.reshape(kernel.shape[2:])
    else:
        kernel = kernel / factors
    pair.first.set_weights([kernel, *(values / factors for values in bias)])
