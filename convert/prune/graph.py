"""The dependency graph: which channels of a network leave together.

Taking a filter out of a convolution takes a channel out of every tensor that holds it and a slice out of every layer
that reads it. Sums tie channels of several layers together, grouped convolutions whole groups, flattening one channel
to a slice for each pixel (Fang et al., DepGraph, arXiv:2301.12900, for the general problem).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.flow import channels
from convert.prune.forest import Forest, Ids
from convert.prune.network import nodes, unpacked
from convert.prune.rules import MAKERS, tied, visit

__all__ = ["ChannelGraph", "Ids", "Keep", "channel_graph", "nodes", "unpacked"]

Keep = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ChannelGraph:
    """The channels of a functional model.

    A class is a set of channels that leave together; a bundle is a set of classes whose layers were tied together
    somewhere, such as a chain of residual blocks.

    Attributes:
        model: The network, models inside it unpacked. Its layers are the given model's own where there were none
            inside, and else copies.
        reads: Class of every channel a layer takes in, by layer name; of the first tensor where it takes several, and
            of the first place where a layer without weights is applied more than once.
        makes: Class of every channel of a layer's results, side by side; of the first place, likewise.
        bundle: ``(classes,)`` bundle of each class.
        reasons: Why a class must stay, by class; the others may go.
    """

    model: keras.Model
    reads: Mapping[str, Ids]
    makes: Mapping[str, Ids]
    bundle: Ids
    reasons: Mapping[int, str]

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(self.bundle)

    def free(self) -> Keep:
        """``(classes,)``, those that may go."""
        result = np.ones(self.classes, np.bool_)
        result[list(self.reasons)] = False
        return result

    def makers(self) -> Iterator[tuple[Any, Ids]]:
        """Layers whose weights make channels, with the classes of these."""
        for layer in self.model.layers:
            if isinstance(layer, MAKERS):
                yield layer, self.makes[layer.name]

    def kept_layers(self) -> dict[str, str]:
        """Layers with channels of their own of which none may go, with the reason.

        Those that only pass channels on, such as normalisation, are not named: it is their maker that counts.
        """
        free, found = self.free(), dict[str, str]()
        for layer in self.model.layers:
            made = self.makes[layer.name]
            passed = not isinstance(layer, MAKERS) and np.isin(made, self.reads[layer.name]).all()
            if layer.weights and not passed and not free[made].any():
                found[layer.name] = self.reasons[int(made[0])]
        return found


def channel_graph(model: keras.Model) -> ChannelGraph:
    """Follows every channel through a network.

    Args:
        model: A functional or sequential Keras 3 model, channels last; it is not changed.

    Raises:
        InputError: A sub-classed model, one that was never built, or a nested one that cannot be copied.
    """
    model = unpacked(model)
    forest, tensors = Forest(), dict[int, Ids]()
    reads, makes = dict[str, Ids](), dict[str, Ids]()
    for node in nodes(model):
        name, inputs = node.operation.name, [tensors[id(tensor)] for tensor in node.input_tensors]
        again = name in makes and tied(node.operation)
        if again:
            _join(forest, name, reads[name], inputs[0])
        made = makes[name] if again and isinstance(node.operation, MAKERS) else visit(forest, node, inputs)
        reads.setdefault(name, inputs[0] if inputs else np.empty(0, np.int64))
        makes.setdefault(name, made)
        ends = np.cumsum([channels(tensor) for tensor in node.output_tensors])
        parts = np.split(made, ends[:-1])
        tensors |= {id(tensor): part for tensor, part in zip(node.output_tensors, parts, strict=True)}
    for tensor in model.outputs:
        forest.freeze(tensors[id(tensor)], f"{tensor._keras_history.operation.name} is an output of the network")
    classes, bundle, reasons = forest.number()
    return ChannelGraph(
        model,
        {name: classes[ids] for name, ids in reads.items()},
        {name: classes[ids] for name, ids in makes.items()},
        bundle,
        reasons,
    )


def _join(forest: Forest, name: str, first: Ids, again: Ids) -> None:
    """A layer that is applied twice takes the same channels in both places."""
    if len(first) == len(again):
        forest.join(first, again)
    else:
        for each in (first, again):
            forest.freeze(each, f"{name} is applied to tensors of different widths")
