"""How channels pass through what has no weights: shared by the rules for layers and for ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convert.prune.forest import Forest, Ids

# From the place where an operation is applied (a Keras node) and the channels of each tensor it takes (its last axis)
# to those of its results, side by side.
Rule = Callable[[Forest, Any, Sequence[Ids]], Ids]


def channels(tensor: Any) -> int:
    """How many channels a tensor has; 1 where nobody knows, and for a number per picture."""
    return int(tensor.shape[-1] or 1) if len(tensor.shape) > 1 else 1


def unknown(forest: Forest, node: Any, inputs: Sequence[Ids], reason: str) -> Ids:
    """Keeps everything that goes in and comes out."""
    text = f"{node.operation.name} {reason}"
    for each in inputs:
        forest.freeze(each, text)
    made = forest.grow(sum(channels(tensor) for tensor in node.output_tensors))
    forest.freeze(made, text)
    return made


def keep(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    """Each channel stays what it is."""
    return inputs[0]


def elementwise(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    """Channel by channel; one channel may be spread over all. NumPy and Keras both align the last axes."""
    count = channels(node.output_tensors[0])
    wide = [each for each in inputs if len(each) == count]
    flat = any(len(tensor.shape) < 2 for tensor in node.input_tensors)
    if flat or not wide or any(len(each) not in (1, count) for each in inputs):
        return unknown(forest, node, inputs, "joins tensors whose channels do not meet")
    for each in inputs:
        if len(each) != count:
            forest.freeze(each, f"{node.operation.name} spreads it over {count} channels")
    for other in wide[1:]:
        forest.join(wide[0], other)
    return wide[0]


def concatenate(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    """Side by side along the channels, or joined along another axis."""
    if on_channels(node.operation.axis, node.output_tensors[0]):
        return np.concatenate(list(inputs))
    for other in inputs[1:]:
        forest.join(inputs[0], other)
    return inputs[0]


def reshape(forest: Forest, node: Any, inputs: Sequence[Ids]) -> Ids:
    """The channels of several pixels side by side, pixel by pixel."""
    before, after = node.input_tensors[0], node.output_tensors[0]
    if len(before.shape) < 2 or len(after.shape) < 2 or before.shape[-1] is None or after.shape[-1] is None:
        return unknown(forest, node, inputs, "has a number of channels that is not known")
    if after.shape[-1] % len(inputs[0]):
        return unknown(forest, node, inputs, "takes channels apart")
    return np.tile(inputs[0], after.shape[-1] // len(inputs[0]))


def split(forest: Forest, inputs: Sequence[Ids], parts: int) -> list[Ids]:
    """Equal parts stay equal: the same place leaves in all of them."""
    first, *others = np.split(inputs[0], parts)
    for other in others:
        forest.join(first, other)
    return [first, *others]


def on_channels(axis: int, tensor: Any) -> bool:
    """Whether an axis, perhaps counted from the end, is a tensor's last one."""
    rank = len(tensor.shape)
    return int(axis) % rank == rank - 1
