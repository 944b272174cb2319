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

from convert.prune.forest import Forest, Ids
from convert.prune.rules import MAKERS, visit
from runtime.errors import InputError

Keep = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ChannelGraph:
    """The channels of a functional model.

    A class is a set of channels that leave together; a bundle is a set of classes whose layers were tied together
    somewhere, such as a chain of residual blocks.

    Attributes:
        model: The network, nested models unpacked. Its layers are the given model's own.
        reads: Class of every channel a layer takes in, by layer name.
        makes: Class of every channel of a layer's result, by layer name.
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
        """Layers of which no channel may go, with the reason."""
        free = self.free()
        return {
            layer.name: self.reasons[int(made[~free[made]][0])] for layer, made in self.makers() if not free[made].any()
        }


def channel_graph(model: keras.Model) -> ChannelGraph:
    """Follows every channel through a network.

    Args:
        model: A functional or sequential Keras 3 model, channels last; it is not changed.

    Raises:
        InputError: A sub-classed model, or one that was never built.
    """
    model = unpacked(model)
    forest, tensors = Forest(), {}  # type: Forest, dict[int, Ids]
    reads: dict[str, Ids] = {}
    makes: dict[str, Ids] = {}
    for node in nodes(model):
        operation, inputs = node.operation, [tensors[id(tensor)] for tensor in node.input_tensors]
        seen = operation.name in makes
        if seen and inputs:
            # Weights used twice: both places read and make the same channels.
            forest.join(reads[operation.name], inputs[0]) if len(reads[operation.name]) == len(inputs[0]) else None
        made = makes[operation.name] if seen and isinstance(operation, MAKERS) else visit(forest, operation, inputs)
        reads.setdefault(operation.name, inputs[0] if inputs else np.empty(0, np.int64))
        makes.setdefault(operation.name, made)
        for tensor in node.output_tensors:
            tensors[id(tensor)] = made
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


def nodes(model: keras.Model) -> Iterator[Any]:
    """The places where layers are applied, in the order of computation."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def unpacked(model: keras.Model) -> keras.Model:
    """A functional model without models inside; layers are shared with the given one.

    Raises:
        InputError: Not a functional model.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not isinstance(model, keras.src.models.functional.Functional):
        raise InputError(
            f"{model.name} is a sub-classed model ({type(model).__name__})",
            "expected a functional or sequential one: only those say how their layers are connected",
            "write it as keras.Model(inputs, outputs)",
        )
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model
    outputs = _apply(model, list(model.inputs))
    return keras.Model(model.inputs, outputs, name=model.name)


def _apply(model: keras.Model, inputs: list[Any]) -> list[Any]:
    """Applies the layers of a model one by one to other tensors."""
    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not isinstance(model, keras.src.models.functional.Functional):
        raise InputError(
            f"{model.name} is a sub-classed model ({type(model).__name__}) inside another",
            "expected functional or sequential ones",
            "write it as keras.Model(inputs, outputs)",
        )
    tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
    for node in nodes(model):
        if node.is_input:
            continue
        args, kwargs = node.arguments.fill_in(tensors)
        if isinstance(node.operation, keras.Model):
            given = [tensors[id(tensor)] for tensor in node.input_tensors]
            results = _apply(node.operation, given)
        else:
            results = keras.tree.flatten(node.operation(*args, **kwargs))
        tensors |= {id(old): new for old, new in zip(node.output_tensors, results, strict=True)}
    return [tensors[id(tensor)] for tensor in model.outputs]
