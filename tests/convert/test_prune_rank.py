"""Rankings: against plain numpy, and against what really happens when a channel is zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from convert.prune.graph import ChannelGraph, channel_graph
from convert.prune.lineage import Lineage
from convert.prune.plan import RANKS, PrunePlan, Rank, Target
from convert.prune.rank import gate, rank
from convert.prune.surgery import remove
from convert.quantize.fold import fold_norms, norm_gains
from tests.convert.prune_family import chain, mixed, norm, rare
from tests.convert.small_nets import by_name, conv, make, pictures, relu, run

layers = keras.layers
STEP = 0.5 / 255


def relative(graph: ChannelGraph, values: np.ndarray) -> np.ndarray:
    """Divided by the mean of each bundle."""
    means = np.array([values[graph.bundle == bundle].mean() for bundle in graph.bundle])
    return np.asarray(values / np.maximum(means, 1e-30))


def of_layers(graph: ChannelGraph, found: dict[str, np.ndarray]) -> np.ndarray:
    """Scores of the layers of a chain, in which each class is a channel of one layer."""
    values = np.zeros(graph.classes)
    for name, each in found.items():
        values[graph.makes[name]] = each / each.mean()
    return relative(graph, values)


@pytest.mark.parametrize(("method", "power"), [("l1", 1), ("l2", 2)])
def test_weights_as_trained(method: Rank, power: int) -> None:
    model = make(chain)
    graph = channel_graph(model)
    kernels = {name: model.get_layer(name).get_weights()[0] for name in ("one", "two", "head")}
    expected = {
        name: (np.abs(kernel.reshape(-1, kernel.shape[-1]).astype(float)) ** power).mean(0) ** (1 / power)
        for name, kernel in kernels.items()
    }
    scores, wanted = rank(graph, method), of_layers(graph, expected)
    for name in kernels:
        np.testing.assert_allclose(scores[graph.makes[name]], wanted[graph.makes[name]], rtol=1e-5)


@pytest.mark.parametrize("method", ["l1", "l2"])
def test_a_dead_channel_is_worth_nothing(method: Rank) -> None:
    """Weights that decayed to next to nothing, and a variance with them: folded, the weights would be the largest."""
    model = make(chain)
    layer, norm = model.get_layer("one"), model.get_layer("one_norm")
    kernel, *rest = layer.get_weights()
    gamma, beta, mean, variance = norm.get_weights()
    kernel[..., 3] *= 1e-3
    variance[3] = 1e-12
    layer.set_weights([kernel, *rest])
    norm.set_weights([gamma, beta, mean, variance])
    graph = channel_graph(model)
    assert rank(graph, method)[graph.makes["one"]].argmin() == 3


@pytest.mark.parametrize("method", ["l1", "l2"])
def test_folded_weights_rank_as_trained(method: Rank) -> None:
    model = make(chain)
    norm = model.get_layer("one_norm")
    gamma, beta, mean, variance = norm.get_weights()
    variance[3], gamma[5] = 1e-12, 0.0
    norm.set_weights([gamma, beta, mean, variance])
    gains = norm_gains(model)
    assert gains.keys() == {"one"}
    whole, folded = channel_graph(model), channel_graph(fold_norms(model))
    one = folded.makes["one"]
    wanted = rank(whole, method)[whole.makes["one"]]
    wanted[5] = 0
    np.testing.assert_allclose(rank(folded, method, gains=gains)[one], wanted * 16 / wanted.sum(), rtol=1e-4)
    assert rank(folded, method)[one].argmax() == 3
    # The same of a network that has lost channels since.
    lineage = Lineage(folded.model, gains)
    keep = lineage.everything
    keep[lineage.graph.makes["one"][:3]] = False
    plan = PrunePlan(target=Target("ratio", 0.5), rank=method)
    scores = lineage.judge(remove(lineage.graph, keep), keep, plan, 0, None)
    assert (scores[lineage.graph.makes["one"][:3]] < 0).all()
    np.testing.assert_allclose(scores[lineage.graph.makes["one"][3:]], wanted[3:] * 13 / wanted[3:].sum(), rtol=1e-4)


def test_weights_of_layers_that_are_tied_count_alike() -> None:
    """Two convolutions are added: a class is judged by both, each against its own mean."""

    def build(image: Any) -> Any:
        x = layers.Add()([conv(image, 8, name="a"), conv(image, 8, 1, name="b")])
        return conv(relu(x), 3, 1, name="head")

    model = make(build)
    graph = channel_graph(model)
    sizes = [np.abs(model.get_layer(name).get_weights()[0]).reshape(-1, 8).astype(float).mean(0) for name in "ab"]
    expected = sum(size / size.mean() for size in sizes) / 2
    np.testing.assert_allclose(rank(graph, "l1")[graph.makes["a"]], expected / expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("method", ["activation", "apoz"])
def test_activations_as_numpy_counts_them(method: Rank) -> None:
    model, images = make(chain), pictures(5)
    graph = channel_graph(model)
    # What the next layer reads: behind normalisation and activation.
    names = {
        maker: model.get_layer(reader).input._keras_history.operation.name
        for maker, reader in (("one", "two"), ("two", "head"))
    }
    scores = rank(graph, method, images)
    stored = by_name(model, list(names.values()), images)
    for maker, name in names.items():
        values = np.abs(stored[name].astype(float))
        if method == "apoz":
            values = (values > STEP * values.max((1, 2, 3), keepdims=True)).astype(float)
        expected = values.mean((0, 1, 2))
        np.testing.assert_allclose(scores[graph.makes[maker]], expected / expected.mean(), rtol=1e-3)


def effects(model: keras.Model, graph: ChannelGraph, images: np.ndarray) -> np.ndarray:
    """Root mean square change of the outputs when each class is zero wherever it is read."""
    gated, gates = gate(model)
    before, result = run(gated, images), np.zeros(graph.classes)
    for one in np.flatnonzero(graph.free()):
        for name, each in gates.items():
            each.factor.assign((graph.reads[name] != one).astype(np.float32))
        after = run(gated, images)
        result[one] = np.sqrt(sum(float(((a - b) ** 2).sum()) / a.var() for a, b in zip(after, before, strict=True)))
    return result


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


@pytest.mark.parametrize("build", [chain, mixed])
def test_taylor_foresees_what_happens(build: Callable[[Any], Any]) -> None:
    model, images = make(build), pictures(12)
    graph = channel_graph(model)
    free = graph.free()
    scores, real = rank(graph, "taylor", images)[free], effects(model, graph, images)[free]
    assert spearman(scores, real) > 0.8
    # It is no chance: random numbers do not correlate.
    assert abs(spearman(rank(graph, "random", seed=1)[free], real)) < 0.5


def test_taylor_knows_what_does_nothing() -> None:
    model, images = make(chain), pictures(4)
    kernel, bias = model.get_layer("two").get_weights()
    kernel[..., 5] = 0
    bias[5] = -1
    model.get_layer("two").set_weights([kernel, bias])
    head, bias = model.get_layer("head").get_weights()
    head[:, :, 7] = 0
    model.get_layer("head").set_weights([head, bias])
    graph = channel_graph(model)
    scores = rank(graph, "taylor", images)[graph.makes["two"]]
    assert scores[5] == scores[7] == 0
    assert np.delete(scores, [5, 7]).min() > 0


def test_taylor_looks_where_it_matters() -> None:
    """A channel that is alive in one half of the picture alone matters only where that half does."""
    model = make(lambda image: conv(relu(conv(image, 8, 1, name="one")), 2, 1, name="head"))
    kernel, bias = model.get_layer("one").get_weights()
    kernel[..., 0], bias[0] = np.array([4.0, 0, 0]), -0.5
    model.get_layer("one").set_weights([kernel, bias])
    images = np.zeros((2, 16, 16, 3), np.float32)
    images[:, :, 8:, 0] = 1
    images[..., 1:] = pictures(2)[..., 1:]
    graph = channel_graph(model)
    left, right = np.zeros((2, 2, 16, 16), np.float32)
    left[..., :8] = 1
    right[..., 8:] = 1
    first = graph.makes["one"][0]
    assert rank(graph, "taylor", images, [left])[first] == 0
    assert rank(graph, "taylor", images, [right])[first] > 0


def test_seed_is_all_chance_there_is() -> None:
    graph, images = channel_graph(make(chain)), pictures(3)
    other = channel_graph(make(chain, seed=5))
    assert np.array_equal(rank(graph, "random", seed=3), rank(other, "random", seed=3))
    assert not np.array_equal(rank(graph, "random", seed=3), rank(graph, "random", seed=4))
    same = [rank(graph, "taylor", images, seed=seed) for seed in (3, 3, 4)]
    assert np.array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])


@pytest.mark.parametrize("build", [chain, mixed, rare])
def test_gates_change_nothing(build: Callable[[Any], Any]) -> None:
    model, images = make(build), pictures(3)
    gated, gates = gate(model)
    for found, expected in zip(run(gated, images), run(model, images), strict=True):
        np.testing.assert_array_equal(found, expected)
    makers = {layer.name for layer, _ in channel_graph(model).makers()}
    assert set(gates) == makers


@pytest.mark.parametrize("method", RANKS)
def test_every_method_judges_every_net(method: Rank) -> None:
    for build in (mixed, rare):
        graph = channel_graph(make(build))
        told: list[tuple[int, int]] = []

        def tell(done: int, total: int, told: list[tuple[int, int]] = told) -> None:
            told.append((done, total))

        scores = rank(graph, method, pictures(3), progress=tell)
        assert scores.shape == (graph.classes,)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        free = graph.free()
        assert len(set(scores[free].tolist())) > free.sum() / 4
        assert told == ([(1, 3), (2, 3), (3, 3)] if method in ("activation", "apoz", "taylor") else [])


def test_dead_network_is_judged() -> None:
    """All weights zero: nothing matters, and nothing divides by it."""
    model = make(lambda image: conv(relu(norm(conv(image, 8, name="one"))), 2, 1))
    for layer in model.layers:
        layer.set_weights([0 * weight for weight in layer.get_weights()])
    graph = channel_graph(model)
    for method in RANKS[:-1]:
        assert not rank(graph, method, pictures(2))[graph.free()].any()
