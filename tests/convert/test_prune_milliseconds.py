"""Prices of channels in time: against networks whose time is a formula, and against a real profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from convert.importers import load_source
from convert.prune.graph import channel_graph
from convert.prune.milliseconds import by_layer, timed
from convert.prune.work import Work, work
from convert.quantize.heads import SplitModel, split_heads
from convert.quantize.tflite import to_tflite
from convert.source import SourceModel
from convert.stopwatch import LocalStopwatch
from runtime.card import OutputBinding
from tests.convert.prune_family import chain, mixed
from tests.convert.small_nets import make, pictures

# Milliseconds per product, per number written, and per product within a channel.
TRUTHS = [(2e-8, 5e-7, 7e-8), (2e-8, 0.0, 2e-8), (0.0, 5e-7, 1e-8)]


def times(costs: Work, keep: np.ndarray[Any, Any], truth: tuple[float, float, float]) -> dict[str, float]:
    """What each layer takes with these classes left."""
    product, output, single = truth
    found: dict[str, float] = {}
    for term in costs.terms:
        read = float(keep[term.first].sum())
        if term.second is None:
            ms = term.factor * read * single
        else:
            made = float(keep[term.second].sum())
            ms = term.factor * read * made * product + term.places * made * output
        found[term.layer] = found.get(term.layer, 0.0) + ms
    return found


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("build", [chain, mixed])
def test_work_goes_with_time(build: Callable[[Any], Any], truth: tuple[float, float, float]) -> None:
    """Whatever is removed, the share of the work that is left is the share of the time."""
    graph = channel_graph(make(build))
    costs, everything = work(graph), np.ones(graph.classes, np.bool_)
    # Large enough that no layer is taken for noise.
    whole = {layer: 1e4 * ms for layer, ms in times(costs, everything, truth).items()}
    weighed = timed(costs, whole)
    assert weighed.macs(everything) == pytest.approx(costs.macs(everything))
    random = np.random.default_rng(0)
    for _ in range(20):
        keep = random.random(graph.classes) < random.uniform(0.3, 1)
        share = sum(times(costs, keep, truth).values()) / sum(times(costs, everything, truth).values())
        assert weighed.macs(keep) / weighed.macs(everything) == pytest.approx(share, rel=1e-6)


def test_a_slow_layer_is_dear() -> None:
    """Seen to take three times as long as the others suggest, its channels cost three times as much."""
    graph = channel_graph(make(mixed))
    costs, everything = work(graph), np.ones(graph.classes, np.bool_)
    plain = {layer: 1e4 * ms for layer, ms in times(costs, everything, TRUTHS[1]).items()}
    slow = next(term for term in costs.terms if term.second is None)
    before, after = (timed(costs, plain | {slow.layer: factor * plain[slow.layer]}) for factor in (1, 3))

    def own(weighed: Work) -> float:
        part = Work(tuple(term for term in weighed.terms if term.layer == slow.layer), weighed.classes)
        return part.macs(everything)

    rest = costs.macs(everything) - own(before)
    assert own(after) / (costs.macs(everything) - own(after)) == pytest.approx(3 * own(before) / rest, rel=1e-6)


@pytest.mark.parametrize("ms", [{}, {"stem": 0.5}, {"nothing": 3.0}])
def test_too_little_is_known(ms: dict[str, float]) -> None:
    costs = work(channel_graph(make(chain)))
    assert timed(costs, ms) is costs


def test_names_of_tensors() -> None:
    image = keras.Input((8, 8, 3))
    raw = keras.layers.Conv2D(18, 1, name="conv_10")(keras.layers.Conv2D(8, 3, name="conv_1")(image))
    model = keras.Model(image, raw)
    bindings = tuple(OutputBinding(f"{kind}_8", kind, 0) for kind in ("box", "objectness", "class"))
    found = by_layer(
        {
            "split_1/relu_1_1/Relu;split_1/conv_1_1/BiasAdd;split_1/conv_1_1/convolution": 1.0,
            "split_1/conv_1/BiasAdd": 0.5,
            "split_1/add_9_1/Add": 9.0,
            "box_8": 2.0,
            "objectness_8": 3.0,
            "class_8": 4.0,
        },
        SplitModel(model, bindings),
        model,
    )
    assert found == {"conv_1": 1.5, "conv_10": 9.0}


def test_every_convolution_of_a_real_file_is_found(tiny_cfg: Path) -> None:
    source: SourceModel = load_source(tiny_cfg)
    split = split_heads(source)
    data = to_tflite(split, source.input.name, "int8", pictures(2, 64, 64))
    found = LocalStopwatch().by_op(data)
    if not found:
        pytest.skip("this interpreter has no profiler")
    layers = by_layer(found, split, source.model)
    assert set(layers) == {layer.name for layer in source.model.layers if hasattr(layer, "kernel_size")}
    assert all(ms > 0 for ms in layers.values())
