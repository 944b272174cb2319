"""Rounding while training: layers that compute in float what the int8 network will compute.

Weights are rounded to -127..127 steps of a scale taken from the largest of them, activations to the 256 steps of a
range. Rounding has no slope, so gradients pass it as if it were not there, and stop where a value was cut off (the
straight-through estimator; Jacob et al., arXiv:1712.05877, section 3; Bengio et al., arXiv:1308.3432).

Only ``keras.ops`` is used: the same layers train on every backend.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Largest stored weight, as in convert.quantize.rounding.
_LARGEST = 127.0
# Weights that are all smaller count as zero: their scale would be lost to the precision of float32.
_LEAST_WEIGHT = 1e-20
# Widths below this are those of a tensor that is always zero.
_LEAST_WIDTH = 1e-6


def quantise_weights(kernel: Any, axes: tuple[int, ...] | None) -> Any:
    """Weights on their int8 steps; gradients pass unchanged.

    Args:
        kernel: Weights of any shape.
        axes: Axes that share one scale; ``None`` for one scale in all.

    Returns:
        Multiples of ``max |kernel| / 127``, so the largest weight and zero stay what they are.
    """
    largest = ops.max(ops.abs(kernel), axis=axes, keepdims=True)
    scale = ops.where(largest > _LEAST_WEIGHT, largest, _LARGEST) / _LARGEST
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)


def quantise_activations(inputs: Any, low: Any, high: Any) -> Any:
    """A tensor on the 256 steps of a range, of which zero is one.

    Args:
        inputs: The tensor.
        low: Scalar, at most 0. Both ends are moved a little so that zero is a step
            (:func:`convert.quantize.fake_quant.nudged`).
        high: Scalar, at least 0.

    Returns:
        Rounded values. Gradients pass inside the range and are zero outside.
    """
    scale = ops.maximum(high - low, _LEAST_WIDTH) / 255.0
    zero = ops.clip(ops.round(-low / scale), 0.0, 255.0)
    cut = ops.clip(inputs, -zero * scale, (255.0 - zero) * scale)
    return cut + ops.stop_gradient(ops.round(cut / scale) * scale - cut)


@keras.saving.register_keras_serializable("edgewren")
class RoundedConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """``Conv2D`` whose kernel is rounded to int8 steps; the variable stays float.

    Args:
        per_tensor: One scale for all weights instead of one per output channel.
    """

    def __init__(self, *args: Any, per_tensor: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.per_tensor = per_tensor

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution with rounded weights."""
        return super().convolution_op(inputs, quantise_weights(kernel, None if self.per_tensor else (0, 1, 2)))

    def get_config(self) -> dict[str, Any]:
        """For saving."""
        return {**super().get_config(), "per_tensor": self.per_tensor}


@keras.saving.register_keras_serializable("edgewren")
class RoundedDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """``DepthwiseConv2D`` whose kernel is rounded to int8 steps; the variable stays float.

    Args:
        per_tensor: One scale for all weights instead of one per output channel.
    """

    def __init__(self, *args: Any, per_tensor: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.per_tensor = per_tensor

    def call(self, inputs: Any) -> Any:
        """The convolution with rounded weights."""
        outputs = ops.depthwise_conv(
            inputs,
            quantise_weights(self.kernel, None if self.per_tensor else (0, 1)),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        outputs = outputs + self.bias if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """For saving."""
        return {**super().get_config(), "per_tensor": self.per_tensor}


@keras.saving.register_keras_serializable("edgewren")
class MovingRange(keras.layers.Layer):  # type: ignore[misc]
    """Rounds the tensors of one scale group to one range, which it learns from batches.

    While training, smallest and largest value of each member move towards those of the batch; the range is the widest
    of its members and always holds zero. ``moving`` set to 0 freezes it.

    Args:
        members: How many tensors share the range.
        momentum: How much of the old extremes each batch leaves.
        fixed: The range never moves.

    Call with a tensor and the number of its member.
    """

    def __init__(self, members: int = 1, momentum: float = 0.95, fixed: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members, self.momentum, self.fixed = members, momentum, fixed
        self.low = self.add_weight(shape=(members,), initializer="zeros", trainable=False, name="low")
        self.high = self.add_weight(shape=(members,), initializer="zeros", trainable=False, name="high")
        self.moving = self.add_weight(
            shape=(1,), initializer="zeros" if fixed else "ones", trainable=False, name="moving"
        )
        self.built = True

    def call(self, inputs: Any, member: int = 0, training: bool | None = None) -> Any:
        """Rounds a tensor."""
        if training and not self.fixed:
            self._observe(ops.stop_gradient(inputs), member)
        low = ops.minimum(ops.min(self.low), 0.0)
        return quantise_activations(inputs, low, ops.maximum(ops.max(self.high), 0.0))

    def _observe(self, inputs: Any, member: int) -> None:
        mine = ops.cast(ops.arange(self.members) == member, "float32")
        # A range nobody has seen anything of takes the first batch as it is.
        unseen = ops.cast(self.high - self.low <= 0, "float32")
        rate = mine * self.moving * ops.maximum(unseen, 1.0 - self.momentum)
        low, high = ops.min(inputs), ops.max(inputs)
        self.low.assign(self.low + rate * (low - self.low))
        self.high.assign(self.high + rate * (high - self.high))

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        """As the input."""
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        """For saving."""
        return {**super().get_config(), "members": self.members, "momentum": self.momentum, "fixed": self.fixed}
