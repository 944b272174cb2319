"""A network for quantisation-aware training: the folded float network with every int8 tensor of the device rounded.

Batch normalisation is folded before the training starts, so its statistics are frozen. The usual other way, folding
inside each step with the statistics of the batch, needs two convolutions per layer and a schedule of its own to
switch to frozen statistics at the end (Krishnamoorthi, arXiv:1806.08342, section 3.2.2). It pays where a network is
trained in int8 from the start; here a few hundred steps begin at trained weights, whose statistics have settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from convert.quantize.tensors import Range, TensorPlan
from convert.train.fake_quant import MovingRange, RoundedConv2D, RoundedDepthwiseConv2D

_PREFIX = "range_"


def qat_network(
    model: keras.Model, plan: TensorPlan, per_tensor: bool = False, momentum: float = 0.95, size: int | None = None
) -> keras.Model:
    """A copy of a network that rounds weights and activations as the device will, and can be trained.

    Args:
        model: A functional model without batch normalisation, each layer applied once.
        plan: Its int8 tensors.
        per_tensor: One scale for all weights of a layer instead of one per output channel.
        momentum: Of the moving ranges.
        size: Height and width of another input than the model's own.

    Returns:
        The copy with the model's weights. Ranges are unset; :func:`set_ranges` sets them, otherwise the first batch
        does.
    """
    image, members = plan.points[0], plan.members()
    frozen = {plan.group[point] for point in (image, *plan.fixed)}
    ranges = {
        group: MovingRange(len(points), momentum, group in frozen, name=_PREFIX + group)
        for group, points in members.items()
    }
    seen: dict[int, Any] = {}

    def rounded(name: str, tensor: Any) -> Any:
        group = plan.group[name]
        return ranges[group](tensor, member=members[group].index(name))

    def with_input(tensor: Any) -> Any:
        """The rounded picture instead of the picture itself, once for all that read it."""
        if not isinstance(tensor._keras_history.operation, keras.layers.InputLayer):
            return tensor
        if id(tensor) not in seen:
            seen[id(tensor)] = rounded(image, tensor)
        return seen[id(tensor)]

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = layer(*keras.tree.map_structure(with_input, args), **kwargs)
        return rounded(layer.name, result) if layer.name in plan.inner else result

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return RoundedDepthwiseConv2D(**layer.get_config(), per_tensor=per_tensor)
        if isinstance(layer, keras.layers.Conv2D):
            return RoundedConv2D(**layer.get_config(), per_tensor=per_tensor)
        return type(layer).from_config(layer.get_config())

    given = None if size is None else keras.Input((size, size, model.inputs[0].shape[-1]), name=image)
    copy = keras.models.clone_model(model, given, clone_function=clone, call_function=call)
    copy_weights(model, copy)
    return copy


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Gives every layer of one network that has weights those of the layer of the same name in another."""
    names = {layer.name for layer in target.layers}
    for layer in source.layers:
        if layer.weights and layer.name in names:
            target.get_layer(layer.name).set_weights(layer.get_weights())


def moving_ranges(network: keras.Model) -> dict[str, MovingRange]:
    """The range layers of :func:`qat_network` by scale group."""
    return {layer.name.removeprefix(_PREFIX): layer for layer in network.layers if isinstance(layer, MovingRange)}


def set_ranges(network: keras.Model, ranges: Mapping[str, Range]) -> None:
    """Sets the ranges of scale groups; all members of a group get the same."""
    for group, layer in moving_ranges(network).items():
        if group in ranges:
            low, high = ranges[group]
            layer.low.assign(np.full(layer.members, low, np.float32))
            layer.high.assign(np.full(layer.members, high, np.float32))


def get_ranges(network: keras.Model) -> dict[str, Range]:
    """The ranges as they are, by scale group; each holds zero."""
    return {group: _range(layer) for group, layer in moving_ranges(network).items()}


def _range(layer: MovingRange) -> Range:
    low, high = (keras.ops.convert_to_numpy(variable) for variable in (layer.low, layer.high))
    return min(0.0, float(low.min())), max(0.0, float(high.max()))


def freeze_ranges(network: keras.Model, frozen: bool) -> None:
    """Stops the ranges, or lets them move again."""
    for layer in moving_ranges(network).values():
        layer.moving.assign([0.0 if frozen or layer.fixed else 1.0])
