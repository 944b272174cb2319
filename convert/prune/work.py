"""Multiply-accumulates of a network as a function of the channels that are left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.forest import Ids
from convert.prune.graph import ChannelGraph, Keep, nodes
from convert.prune.rules import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from runtime.errors import InputError

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """Work of a layer at one place: ``factor * channels of first * channels of second``.

    Attributes:
        layer: Its name.
        factor: Multiply-accumulates per pair of channels, or per channel.
        places: Rows times columns of what it writes.
        first: Classes of the channels it reads; of a depthwise convolution those it makes.
        second: Classes of the channels it makes; ``None`` where the work goes with ``first`` alone.
    """

    layer: str
    factor: float
    places: float
    first: Ids
    second: Ids | None


@dataclass(frozen=True)
class Work:
    """What a network costs.

    Attributes:
        terms: One or two per place where a layer is applied.
        classes: Number of channel classes.
    """

    terms: tuple[Term, ...]
    classes: int

    def macs(self, keep: Keep) -> float:
        """Multiply-accumulates for one input with these classes left."""
        return float((self._factors * (self._first @ keep) * self._others(keep)).sum())

    def prices(self, keep: Keep) -> Doubles:
        """``(classes,)`` multiply-accumulates that would be saved by each class that is left, if it alone left."""
        first, others = self._first @ keep.astype(np.float64), self._others(keep)
        prices = self._first.T @ (self._factors * others) + self._second.T @ (self._factors * first)
        return np.asarray(prices - self._met_twice)

    def _others(self, keep: Keep) -> Doubles:
        return np.asarray(np.where(self._alone, 1.0, self._second @ keep.astype(np.float64)))

    @cached_property
    def _factors(self) -> Doubles:
        return np.array([term.factor for term in self.terms])

    @cached_property
    def _alone(self) -> npt.NDArray[np.bool_]:
        return np.array([term.second is None for term in self.terms])

    @cached_property
    def _first(self) -> Doubles:
        return np.stack([np.bincount(term.first, minlength=self.classes) for term in self.terms]).astype(np.float64)

    @cached_property
    def _met_twice(self) -> Doubles:
        """What a class that is on both sides of a product counts in both."""
        return np.asarray(self._factors @ (self._first * self._second))

    @cached_property
    def _second(self) -> Doubles:
        empty = np.empty(0, np.int64)
        rows = [np.bincount(empty if t.second is None else t.second, minlength=self.classes) for t in self.terms]
        return np.stack(rows).astype(np.float64)


def work(graph: ChannelGraph) -> Work:
    """Counts the work of a network's convolutions and dense layers.

    Raises:
        InputError: Its input has no fixed size.
    """
    terms: list[Term] = []
    for node in nodes(graph.model):
        for output in node.output_tensors:
            if any(size is None for size in output.shape[1:]):
                raise InputError(
                    f"{graph.model.name} has an input without a fixed size",
                    "expected one: work and time depend on it",
                    "build it with keras.Input((height, width, channels))",
                )
        terms += _terms(graph, node)
    if not terms:
        raise InputError(f"{graph.model.name} has no convolution and no dense layer", "expected something to prune")
    return Work(tuple(terms), graph.classes)


def _terms(graph: ChannelGraph, node: Any) -> list[Term]:
    layer = node.operation
    reads, makes = graph.reads.get(layer.name), graph.makes.get(layer.name)
    if reads is None or makes is None or node.is_input:
        return []
    places = math.prod(node.output_tensors[0].shape[1:-1])
    kernel = math.prod(getattr(layer, "kernel_size", ()))
    if isinstance(layer, DEPTHWISE):
        return [Term(layer.name, places * kernel, places, makes, None)]
    if isinstance(layer, SEPARABLE):
        between = np.repeat(reads, layer.depth_multiplier)
        return [
            Term(layer.name, places * kernel, places, between, None),
            Term(layer.name, places, places, between, makes),
        ]
    if isinstance(layer, TRANSPOSED):
        return [Term(layer.name, math.prod(node.input_tensors[0].shape[1:-1]) * kernel, places, reads, makes)]
    if isinstance(layer, CONVOLUTIONS):
        if layer.groups > 1:
            # Groups go as a whole, so each input meets the same number of filters for ever.
            return [Term(layer.name, places * kernel * layer.filters / layer.groups, places, reads, None)]
        return [Term(layer.name, places * kernel, places, reads, makes)]
    return [Term(layer.name, places, places, reads, makes)] if isinstance(layer, keras.layers.Dense) else []
