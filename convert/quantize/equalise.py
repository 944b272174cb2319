"""Channel equalisation: the same function, with channels that suit one scale.

An int8 tensor has one scale for all its channels, so a channel that stays small next to a large one is left with a few
steps. Channels between convolutions can be divided by any positive factor that the next weights take back (Nagel et
al., "Data-Free Quantization", arXiv:1906.04721, section 4.1). It costs nothing at run time.

Which factors are best? Rounding puts noise of variance ``scale^2 / 12`` into every value of a tensor. What this does
to the network's outputs is known channel by channel (``Observed.gain``). A factor belongs to a whole class of channels,
with the tensors in front of and behind a leaky ReLU, and with every tensor of a residual chain; each of these tensors
wants its own factors. So the sum of all noise at the outputs is minimised over the scales of the tensors: given these,
the smallest factor with which a channel fits into each of its tensors is the best one.

Weights have a scale per output channel and bear uneven inputs better than activations do, but not without loss, so a
part of the factor stays with them (Xiao et al., "SmoothQuant", arXiv:2211.10438, equation 4, with its alpha).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.quantize.channels import ChannelClasses, channel_classes
from convert.quantize.graph import followers, inputs_of, is_convolution, is_depthwise, outputs_of
from convert.quantize.observe import Observed
from convert.quantize.tensors import TensorPlan

# Share of a channel's excess that moves into the next weights.
_ALPHA = 0.7
# A channel that hardly ever fires must not be blown up without bounds.
_MAX_FACTOR = 256.0
# A channel counts as always negative when it never comes closer to 0 than this share of its depth.
_FLIP_MARGIN = 0.02
_ROUNDS = 6

Factors = npt.NDArray[np.float64]
Signs = dict[str, npt.NDArray[np.float32]]


def equalise(model: keras.Model, plan: TensorPlan, seen: Mapping[str, Observed]) -> dict[str, Observed]:
    """Rescales the channels of a network in place.

    Args:
        model: Without batch normalisation, each layer applied once.
        plan: Its int8 tensors.
        seen: What was observed at each of them but the input.

    Returns:
        What would be observed now.
    """
    flips = flip_negative(model, seen)
    seen = {name: one.times(flips[name]) if name in flips else one for name, one in seen.items()}
    classes = channel_classes(model)
    factors = temper(model, classes, noise_optimal(plan, classes, seen))
    rescale(model, classes, factors)
    return {name: one.times((1 / factors[classes.of[name]]).astype(np.float32)) for name, one in seen.items()}


def flip_negative(model: keras.Model, seen: Mapping[str, Observed]) -> Signs:
    """Turns channels that are always negative in front of a leaky ReLU into positive ones, in place.

    Behind the leaky ReLU such a channel is a tenth of what it was, and would get a tenth of the steps. Made
    ``-slope`` times as large by its own convolution it passes the leaky ReLU unchanged, at full size, and the next
    weights take the sign back.

    Returns:
        What each channel of a changed tensor was multiplied by.
    """
    ends, changed = outputs_of(model), {}
    for layer in model.layers:
        leaky = followers(layer)[0] if len(followers(layer)) == 1 else None
        if not is_convolution(layer) or layer.name in ends or not isinstance(leaky, keras.layers.LeakyReLU):
            continue
        readers, slope = followers(leaky), float(leaky.negative_slope)
        if not slope or leaky.name in ends or not readers or not all(_takes_factors(reader) for reader in readers):
            continue
        low, high = seen[layer.name].low.min(0), seen[layer.name].high.max(0)
        negative = high < _FLIP_MARGIN * low
        if negative.any():
            changed[layer.name] = np.where(negative, -slope, 1).astype(np.float32)
            changed[leaky.name] = np.where(negative, -1, 1).astype(np.float32)
            _multiply(layer, changed[layer.name])
            for reader in readers:
                _multiply_inputs(reader, changed[leaky.name])
    return changed


@dataclass(frozen=True)
class _Entries:
    """Every channel of every int8 tensor, flat.

    Attributes:
        group: Scale group of the tensor, numbered.
        of: Class of the channel.
        size: Its largest magnitude.
        gain: What noise in it does to the outputs.
        groups: How many groups there are.
    """

    group: npt.NDArray[np.int64]
    of: npt.NDArray[np.int64]
    size: Factors
    gain: Factors
    groups: int


def noise_optimal(plan: TensorPlan, classes: ChannelClasses, seen: Mapping[str, Observed]) -> Factors:
    """What the channels of each class are divided by so that rounding disturbs the outputs least.

    Returns:
        ``(classes,)`` positive factors; 1 for frozen classes.
    """
    entries = _entries(plan, classes, seen)
    room = np.zeros(entries.groups)
    np.maximum.at(room, entries.group, entries.size)
    best = _noise(entries, classes, room).sum()
    for _ in range(_ROUNDS):
        before = best
        for group in range(entries.groups):
            for change in (0.5, 2, 0.8, 1.25):
                other = room.copy()
                other[group] *= change
                noise = _noise(entries, classes, other).sum()
                if noise < best * (1 - 1e-6):
                    best, room = noise, other
                    break
        if best > before * (1 - 1e-4):
            break
    return _factors(entries, classes, room)


def _entries(plan: TensorPlan, classes: ChannelClasses, seen: Mapping[str, Observed]) -> _Entries:
    numbers = {group: number for number, group in enumerate(dict.fromkeys(plan.group[p] for p in plan.inner))}
    group = np.concatenate([np.full(len(classes.of[p]), numbers[plan.group[p]]) for p in plan.inner])
    size = np.concatenate([np.maximum(-seen[p].low.min(0), seen[p].high.max(0)) for p in plan.inner]).astype(np.float64)
    largest = np.zeros(len(numbers))
    np.maximum.at(largest, group, size)
    size = np.maximum(size, np.maximum(largest[group] / _MAX_FACTOR, 1e-12))
    of = np.concatenate([classes.of[p] for p in plan.inner])
    gain = np.concatenate([seen[p].gain for p in plan.inner])
    return _Entries(group, of, size, gain, len(numbers))


def _factors(entries: _Entries, classes: ChannelClasses, room: Factors) -> Factors:
    """The smallest factor of each class with which its channels fit into the room each tensor gives them."""
    factors = np.zeros(len(classes.frozen))
    np.maximum.at(factors, entries.of, entries.size / room[entries.group])
    # Classes of no int8 tensor (inside fused layers) have no size of their own.
    factors[classes.frozen | (factors == 0)] = 1
    return factors


def _noise(entries: _Entries, classes: ChannelClasses, room: Factors) -> Factors:
    """Noise each scale group brings to the outputs, up to a constant."""
    factors = _factors(entries, classes, room)[entries.of]
    largest = np.zeros(entries.groups)
    np.maximum.at(largest, entries.group, entries.size / factors)
    gain = np.bincount(entries.group, weights=entries.gain * factors**2, minlength=entries.groups)
    return np.asarray(gain * largest**2)


def temper(model: keras.Model, classes: ChannelClasses, factors: Factors) -> Factors:
    """Leaves a part of the factors to the weights that read the channels.

    Depthwise weights have a scale per channel and bear any factor: a class that only they read keeps its own.

    Args:
        model: The network.
        classes: Its channel classes.
        factors: ``(classes,)`` positive factors.

    Returns:
        ``factor^alpha / weight^(1 - alpha)``, weight being the largest that reads the class, both relative to their
        geometric means over the inputs of a convolution.
    """
    largest = np.zeros(len(factors))
    readers = [layer for layer in model.layers if is_convolution(layer) and not is_depthwise(layer)]
    for reader in readers:
        kernel = np.abs(reader.get_weights()[0]).max(axis=(0, 1, 3))
        np.maximum.at(largest, _input_classes(classes, reader)[: len(kernel)], kernel)
    result, done = factors.copy(), classes.frozen | (largest == 0)
    for reader in readers:
        ids = np.unique(_input_classes(classes, reader))
        ids = ids[~done[ids]]
        if len(ids):
            done[ids] = True
            result[ids] = _tempered(factors[ids], largest[ids])
    return result


def _tempered(factors: Factors, weights: Factors) -> Factors:
    factors, weights = np.maximum(factors, 1e-6 * factors.max()), np.maximum(weights, 1e-6 * weights.max())
    middle, usual = np.exp(np.log(factors).mean()), np.exp(np.log(weights).mean())
    return np.asarray(middle * (factors / middle) ** _ALPHA / (weights / usual) ** (1 - _ALPHA))


def rescale(model: keras.Model, classes: ChannelClasses, factors: Factors) -> None:
    """Divides each channel by its class's factor, in place; the network's outputs stay the same."""
    for layer in model.layers:
        if is_convolution(layer):
            if _takes_factors(layer):
                _multiply_inputs(layer, factors[_input_classes(classes, layer)])
            _multiply(layer, 1 / factors[classes.of[layer.name]])


def _input_classes(classes: ChannelClasses, layer: Any) -> npt.NDArray[np.int64]:
    return classes.of[inputs_of(layer)[0]]


def _takes_factors(layer: Any) -> bool:
    """Whether a factor per input channel can go into a layer's weights."""
    if is_depthwise(layer):
        return bool(layer.depth_multiplier == 1)
    return is_convolution(layer) and layer.groups == 1


def _multiply(layer: Any, factors: npt.NDArray[Any]) -> None:
    """Multiplies the output channels of a convolution."""
    kernel, bias = layer.get_weights()
    kernel = kernel * (factors.reshape(kernel.shape[2:]) if is_depthwise(layer) else factors)
    layer.set_weights([kernel, bias * factors])


def _multiply_inputs(layer: Any, factors: npt.NDArray[Any]) -> None:
    """Multiplies the weights that read each input channel; a depthwise kernel's third axis is the channels too."""
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * factors[:, None], bias])
