"""Residual blocks that leave whole, and convolutions that become one when nothing is left between them.

A network of many small layers spends its time on starting rows of pixels and on writing them, not on products: fewer
channels change little there, fewer layers much. A residual block only adds to what passes it by, so the network still
works without it (Veit et al., arXiv:1605.06431). What stood on both sides then often is two convolutions in a row
without an activation between them, which are one convolution: an exact identity, not an approximation (as in Layer
Folding; Ben Dror et al., arXiv:2106.09309).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convert.quantize.graph import inputs_of, outputs_of

Reads = dict[str, tuple[str, ...]]
# Whether a convolution is to become one with the pointwise one behind it, by their names.
Worth = Callable[[str, str], bool]


@dataclass(frozen=True)
class Block:
    """A branch that is added to what passes it by.

    Attributes:
        total: The layer that adds.
        branch: The last layer of the branch; what only the branch needs leaves with it.
        skip: The layer whose result stands for the sum when the branch is gone.
    """

    total: str
    branch: str
    skip: str


@dataclass(frozen=True)
class Layout:
    """A network without some of its blocks.

    Attributes:
        reads: The layers that are left, in order, and what each reads.
        stands: Sums that are gone, and the layer whose result takes their place.
        merged: Convolutions that took in the one in front of them, with that one's name.
    """

    reads: Reads
    stands: Mapping[str, str]
    merged: Mapping[str, str]


def find_blocks(model: keras.Model) -> tuple[Block, ...]:
    """Every block of a network that can leave, in order.

    Args:
        model: A functional model of layers with one result each, every layer applied once.
    """
    reads, ends = _reads(model), outputs_of(model)
    readers = _readers(reads)
    found = []
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Add) or layer.name in ends or len(set(reads[layer.name])) != 2:
            continue
        for branch, skip in (reads[layer.name], reads[layer.name][::-1]):
            inside = _only_for(layer.name, branch, reads, readers, ends)
            same = model.get_layer(skip).output.shape == layer.output.shape
            if same and any(model.get_layer(name).weights for name in inside):
                found.append(Block(layer.name, branch, skip))
    return tuple(found)


def layout(model: keras.Model, gone: Collection[Block], worth: Worth | None = None) -> Layout:
    """What is left of a network.

    Args:
        model: See :func:`find_blocks`.
        gone: Blocks that leave; those it does not have are passed over.
        worth: Decides where two convolutions become one; without it none do.
    """
    stands = {block.total: block.skip for block in gone}

    def source(name: str) -> str:
        while name in stands:
            name = stands[name]
        return name

    reads = {name: tuple(source(each) for each in names) for name, names in _reads(model).items() if name not in stands}
    ends = outputs_of(model)
    reads = _needed(reads, ends)
    merged = _merge(model, reads, ends, worth) if worth else {}
    return Layout(reads, stands, merged)


def shortened(model: keras.Model, what: Layout) -> keras.Model:
    """The network that is left, with the weights it had; the given one is not changed."""
    weights: dict[str, list[Any]] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name not in what.reads:
            # What is gone is read by nothing else that is left than by what takes its place.
            return _passed(layer, args[0], what.stands)
        config = layer.get_config()
        weights[layer.name] = layer.get_weights()
        if layer.name in what.merged:
            config, weights[layer.name] = _product(model.get_layer(what.merged[layer.name]), layer)
        return type(layer).from_config(config)(*args, **kwargs)

    copy = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])
    return copy


def stand_ins(model: keras.Model, gone: Collection[Block]) -> dict[str, str]:
    """Layers that are to give what another one gave: what passed a block by, and the sum behind it.

    Args:
        model: The network with its blocks.
        gone: Blocks that left.

    Returns:
        By layer name, the last sum it stands for. A layer that something reads for what it was is not among them.
    """
    left, reads = layout(model, gone).reads, _reads(model)
    readers = _readers(reads)
    sums = {
        block.skip: block.total
        for block in gone
        if not any(name in left for name in readers[block.skip]) and block.skip not in outputs_of(model)
    }

    def last(name: str) -> str:
        while name in sums:
            name = sums[name]
        return name

    return {name: last(name) for name in sums if name in left}


def _passed(layer: Any, given: Any, stands: Mapping[str, str]) -> Any:
    if not isinstance(given, (list, tuple)):
        return given
    return given[inputs_of(layer).index(stands[layer.name]) if layer.name in stands else 0]


def _product(front: Any, behind: Any) -> tuple[dict[str, Any], list[Any]]:
    """Configuration and weights of one convolution for two; sums in double precision."""
    (kernel, *bias), (mix, *shift) = front.get_weights(), behind.get_weights()
    matrix = mix[0, 0].astype(np.float64)
    both = np.tensordot(kernel.astype(np.float64), matrix, 1)
    offset = (bias[0].astype(np.float64) @ matrix if bias else 0.0) + (shift[0] if shift else np.zeros(matrix.shape[1]))
    config = front.get_config() | {
        "name": behind.name,
        "filters": behind.filters,
        "use_bias": True,
        "activation": behind.get_config()["activation"],
    }
    return config, [both.astype(np.float32), offset.astype(np.float32)]


def _merge(model: keras.Model, reads: Reads, ends: set[str], worth: Worth) -> dict[str, str]:
    """Finds convolutions that become one; takes those that vanish out of ``reads``."""
    merged: dict[str, str] = {}
    for name in list(reads):
        if not _pointwise(model.get_layer(name)):
            continue
        readers, (front, *_), between = _readers(reads), reads[name], list[str]()
        while readers[front] == [name if not between else between[-1]] and front not in ends:
            layer = model.get_layer(front)
            if not isinstance(layer, keras.layers.Dropout):
                if _linear(layer) and front not in merged and worth(front, name):
                    reads[name], merged[name] = reads[front], front
                    for vanished in (front, *between):
                        del reads[vanished]
                break
            between.append(front)
            (front,) = reads[front]
    return merged


def _pointwise(layer: Any) -> bool:
    plain = type(layer) is keras.layers.Conv2D and layer.groups == 1
    return bool(plain and set(layer.kernel_size) == {1} and set(layer.strides) == {1})


def _linear(layer: Any) -> bool:
    plain = type(layer) is keras.layers.Conv2D and layer.groups == 1
    return bool(plain and layer.activation in (None, keras.activations.linear))


def _reads(model: keras.Model) -> Reads:
    return {
        layer.name: () if isinstance(layer, keras.layers.InputLayer) else tuple(inputs_of(layer))
        for layer in model.layers
    }


def _readers(reads: Reads) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in reads}
    for name, names in reads.items():
        for each in names:
            found[each].append(name)
    return found


def _needed(reads: Reads, ends: set[str]) -> Reads:
    """Layers something that is left depends on, in their order."""
    needed, waiting = set[str](), list(ends)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(reads[name])
    return {name: names for name, names in reads.items() if name in needed}


def _only_for(total: str, branch: str, reads: Reads, readers: Mapping[str, list[str]], ends: set[str]) -> set[str]:
    """The layers only a branch needs; none where its end is read elsewhere too, or is an input."""
    inside, waiting = set[str](), [branch]
    while waiting:
        name = waiting.pop()
        elsewhere = set(readers[name]) - inside - ({total} if name == branch else set())
        if name not in ends and reads[name] and not elsewhere:
            inside.add(name)
            waiting.extend(reads[name])
    return inside
