"""Small layers that Keras lacks, each written so that XNNPACK takes the op it becomes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("edgewren")
class NearestUpsample(keras.layers.Layer):  # type: ignore[misc]
    """Doubles height and width by repeating pixels: ``(b, h, w, c)`` to ``(b, 2h, 2w, c)``.

    ``keras.layers.UpSampling2D("nearest")`` becomes RESHAPE and TILE in TFLite, and TILE leaves XNNPACK. Four copies
    of the channels rearranged by DEPTH_TO_SPACE give the same numbers and stay inside.
    """

    def call(self, inputs: Any) -> Any:
        """Repeats pixels."""
        return ops.depth_to_space(ops.concatenate([inputs] * 4, axis=-1), 2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """``(b, 2h, 2w, c)``."""
        batch, height, width, channels = input_shape
        return batch, height and 2 * height, width and 2 * width, channels


@keras.saving.register_keras_serializable("edgewren")
class ChannelGroup(keras.layers.Layer):  # type: ignore[misc]
    """Keeps one of ``groups`` equal parts of the channels (Darknet's ``[route] groups=.. group_id=..``)."""

    def __init__(self, groups: int, group_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.group_id = group_id

    def call(self, inputs: Any) -> Any:
        """One part of the channels; a SPLIT in TFLite."""
        return ops.split(inputs, self.groups, axis=-1)[self.group_id]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """``(b, h, w, c / groups)``."""
        channels = input_shape[-1]
        return *input_shape[:-1], channels and channels // self.groups

    def get_config(self) -> dict[str, Any]:
        """For saving."""
        return {**super().get_config(), "groups": self.groups, "group_id": self.group_id}


@keras.saving.register_keras_serializable("edgewren")
class EdgePadding(keras.layers.Layer):  # type: ignore[misc]
    """Repeats the border pixels outwards.

    Args:
        before: Rows above and columns to the left.
        after: Rows below and columns to the right.

    Before a max pooling this equals padding with minus infinity as long as each window reaches the image, and unlike
    minus infinity it keeps the tensor's range narrow enough for int8.
    """

    def __init__(self, before: tuple[int, int], after: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.before = tuple(before)
        self.after = tuple(after)

    def call(self, inputs: Any) -> Any:
        """Pads height and width; a MIRROR_PAD in TFLite."""
        rows, columns = zip(self.before, self.after, strict=True)
        return ops.pad(inputs, ((0, 0), rows, columns, (0, 0)), mode="symmetric")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """``(b, h + rows, w + columns, c)``."""
        batch, height, width, channels = input_shape
        rows, columns = (a + b for a, b in zip(self.before, self.after, strict=True))
        return batch, height and height + rows, width and width + columns, channels

    def get_config(self) -> dict[str, Any]:
        """For saving."""
        return {**super().get_config(), "before": self.before, "after": self.after}


@keras.saving.register_keras_serializable("edgewren")
class Mish(keras.layers.Layer):  # type: ignore[misc]
    """``x * tanh(softplus(x))`` (Misra, arXiv:1908.08681).

    Softplus is written as ``relu(x) + log(1 + exp(-|x|))``: every tensor on the way stays small, while the usual
    ``log(1 + exp(x))`` would put numbers from 0 to thousands on one int8 scale.
    """

    def call(self, inputs: Any) -> Any:
        """The activation."""
        positive = ops.relu(inputs)
        softplus = positive + ops.log(1 + ops.exp(inputs - 2 * positive))
        return inputs * ops.tanh(softplus)
