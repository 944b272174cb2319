"""int8 in float arithmetic: a network in which every int8 tensor of the device is rounded to its 256 steps.

The same network serves three ends: it measures what a choice of ranges costs before anything is converted, it can have
single tensors switched back to float to see what they cost, and TensorFlow's converter reads the ranges out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.quantize.tensors import Range, TensorPlan

_PREFIX = "fake_quant_"


class FakeQuant(keras.layers.Layer):  # type: ignore[misc]
    """Rounds a tensor to the 256 steps of a range, zero being one of them.

    Args:
        low, high: The range; ``low <= 0 <= high``, ``low < high``.
        switch: Whether it can be switched off (``enabled``); the converter does not understand such a layer.
    """

    def __init__(self, low: float, high: float, switch: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high, self.switch = low, high, switch
        self.enabled: Any = None
        if switch:
            self.enabled = self.add_weight(shape=(), initializer="ones", trainable=False, name="enabled")

    def call(self, inputs: Any) -> Any:
        """``(x / scale + zero point)`` rounded and clipped, and back."""
        rounded = tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high, num_bits=8)
        return tf.where(self.enabled > 0, rounded, inputs) if self.switch else rounded

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the input."""
        return input_shape


def fake_quantise(
    model: keras.Model,
    plan: TensorPlan,
    ranges: Mapping[str, Range],
    switch: bool = False,
    leave: frozenset[str] = frozenset(),
) -> keras.Model:
    """A copy of a network whose int8 tensors are rounded.

    Args:
        model: Without batch normalisation.
        plan: Its int8 tensors.
        ranges: By scale group.
        switch: Whether :func:`switches` can turn each off.
        leave: Points that stay float.

    Returns:
        The copy; weights are taken over as they are.
    """
    wanted = set(plan.points) - leave
    first = plan.points[0]

    def rounded(name: str, tensor: Any) -> Any:
        low, high = ranges[plan.group[name]]
        return FakeQuant(float(low), float(high), switch, name=_PREFIX + name)(tensor)

    seen: dict[int, Any] = {}

    def with_input(tensor: Any) -> Any:
        """The rounded picture instead of the picture itself, once for all that read it."""
        if first not in wanted or not isinstance(tensor._keras_history.operation, keras.layers.InputLayer):
            return tensor
        if id(tensor) not in seen:
            seen[id(tensor)] = rounded(first, tensor)
        return seen[id(tensor)]

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        args = keras.tree.map_structure(with_input, args)
        result = layer(*args, **kwargs)
        return rounded(layer.name, result) if layer.name in wanted else result

    copy = keras.models.clone_model(model, call_function=call)
    for layer in copy.layers:
        if layer.weights and not isinstance(layer, FakeQuant):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy


def switches(model: keras.Model) -> dict[str, Any]:
    """The ``enabled`` variable of each rounded tensor, by the name of its point."""
    layers = [layer for layer in model.layers if isinstance(layer, FakeQuant)]
    return {layer.name.removeprefix(_PREFIX): layer.enabled for layer in layers}


def rounded_layer(point: str) -> str:
    """Name of the layer that rounds a point."""
    return _PREFIX + point


def nudged(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point (-128..127) of a range: zero must be one of the steps.

    As ``tf.quantization.fake_quant_with_min_max_args`` and the converter do it (Jacob et al., arXiv:1712.05877,
    section 3); they round a half upwards.
    """
    scale = (high - low) / 255
    return scale, int(np.clip(np.floor(-low / scale + 0.5), 0, 255)) - 128


def round_to(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[Any]:
    """What is left of numbers in int8."""
    scale, zero = nudged(low, high)
    return (np.clip(np.round(values / scale) + zero, -128, 127) - zero) * scale
