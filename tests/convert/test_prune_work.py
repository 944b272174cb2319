"""Work as a function of the channels left: against a count of weights and places, and against converted files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from convert.prune.graph import ChannelGraph, channel_graph
from convert.prune.surgery import remove
from convert.prune.work import Work, work
from convert.quantize.cost import multiply_accumulates
from runtime.errors import InputError
from tests.convert.prune_family import chain, counted, mixed, rare, scattered
from tests.convert.small_nets import converted, make

NETS = pytest.mark.parametrize("build", [chain, mixed, rare])


def all_of(graph: ChannelGraph) -> Any:
    return np.ones(graph.classes, np.bool_)


@NETS
def test_work_is_weights_times_places(build: Callable[[Any], Any]) -> None:
    model = make(build)
    graph = channel_graph(model)
    costs = work(graph)
    assert costs.macs(all_of(graph)) == counted(model)
    for seed in range(6):
        keep = scattered(graph, 0.3 + 0.1 * seed, seed)
        smaller = remove(graph, keep)
        assert costs.macs(keep) == counted(smaller) < counted(model)
        # The smaller network says the same of itself.
        own = channel_graph(smaller)
        assert work(own).macs(all_of(own)) == counted(smaller)


@NETS
def test_prices_are_what_one_class_less_saves(build: Callable[[Any], Any]) -> None:
    graph = channel_graph(make(build))
    costs = work(graph)
    for keep in (all_of(graph), scattered(graph, 0.6, 3)):
        prices, whole = costs.prices(keep), costs.macs(keep)
        for one in np.flatnonzero(keep):
            without = keep.copy()
            without[one] = False
            assert prices[one] == pytest.approx(whole - costs.macs(without))


def test_work_of_files() -> None:
    model = make(mixed)
    graph = channel_graph(model)
    costs: Work = work(graph)
    keep = scattered(graph, 0.5, 1)
    for left, net in ((all_of(graph), model), (keep, remove(graph, keep))):
        assert multiply_accumulates(converted(net, "float32")) == costs.macs(left)


def test_input_of_any_size_has_no_work() -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(8, 3)(image))
    with pytest.raises(InputError, match="without a fixed size"):
        work(channel_graph(model))


def test_nothing_to_prune() -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.ReLU()(image))
    with pytest.raises(InputError, match="no convolution"):
        work(channel_graph(model))
