"""Which channels leave: by share and until it is enough, for any scores."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.prune.choose import check_ratio, remove_share, remove_until
from convert.prune.graph import ChannelGraph, Keep, channel_graph
from convert.prune.plan import Scope
from convert.prune.surgery import remove
from convert.prune.work import work
from runtime.errors import InputError
from tests.convert.prune_family import chain, mixed, norm, rare
from tests.convert.small_nets import conv, make, relu, run

SCOPES: tuple[Scope, ...] = ("global", "layer")
scopes = pytest.mark.parametrize("scope", SCOPES)


def narrow(image: Any) -> Any:
    """Layers of fewer channels than a multiple, and of none."""
    x = relu(conv(image, 6, name="six"))
    x = relu(conv(x, 12, name="twelve"))
    x = relu(norm(conv(x, 20, name="twenty")))
    return conv(x, 3, 1, name="head")


def crossed(image: Any) -> Any:
    """Two layers side by side whose channels are added, as one, to those of a third."""
    left, right = conv(image, 8, name="left"), conv(image, 8, 1, name="right")
    x = keras.layers.Add()([keras.layers.Concatenate()([left, right]), conv(image, 16, name="wide")])
    return conv(relu(x), 4, 1, name="head")


GRAPHS = [channel_graph(make(build)) for build in (chain, mixed, rare, narrow, crossed)]
graphs = st.sampled_from(GRAPHS)
seeds = st.integers(0, 2**32 - 1)


def scores_of(graph: ChannelGraph, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(graph.classes)


def bundles(graph: ChannelGraph) -> list[np.ndarray]:
    return [np.flatnonzero(graph.bundle == bundle) for bundle in range(int(graph.bundle.max()) + 1)]


def check(graph: ChannelGraph, scores: np.ndarray, keep: Keep, multiple: int) -> None:
    """What holds however channels are chosen."""
    free = graph.free()
    assert keep.shape == (graph.classes,)
    assert keep[~free].all()
    for layer, made in graph.makers():
        assert keep[made].any(), f"{layer.name} is empty"
    tops = {int(made[np.argmax(scores[made])]) for _, made in graph.makers()}
    for members in bundles(graph):
        left = int(keep[members].sum())
        assert left == len(members) or left % multiple == 0
        gone, stays = members[~keep[members]], members[keep[members] & free[members]]
        # A layer's last channel stays whatever it scores.
        stays = np.array([one for one in stays.tolist() if one not in tops], int)
        if len(gone) and len(stays):
            assert scores[gone].max() <= scores[stays].min()


def within(ratio: float, limit: float) -> None:
    """What a refusal asks for is less than what was given."""
    assert 0 <= limit < ratio


@settings(max_examples=150)
@given(graphs, seeds, st.floats(0.02, 0.98), st.sampled_from(SCOPES), st.sampled_from([1, 4, 8]))
def test_share(graph: ChannelGraph, seed: int, ratio: float, scope: Scope, multiple: int) -> None:
    scores = scores_of(graph, seed)
    try:
        keep = remove_share(graph, scores, ratio, scope, multiple)
    except InputError as refusal:
        limit = float(refusal.expected.split("at most ")[1].split(":")[0])
        within(ratio, limit)
        if limit > 0:
            check(graph, scores, remove_share(graph, scores, limit, scope, multiple), multiple)
        return
    check(graph, scores, keep, multiple)
    free = graph.free()
    if scope == "global":
        # It ends with the chunk that makes it enough.
        assert (keep & free).sum() <= free.sum() * (1 - ratio) + 1e-6
        assert (keep & free).sum() > free.sum() * (1 - ratio) - multiple
    else:
        for members in bundles(graph):
            own = members[free[members]]
            # Layers are rounded up to the next multiple, never down.
            assert keep[own].sum() >= min(len(own), len(own) * (1 - ratio) - 1e-9)


@settings(max_examples=100)
@given(graphs, seeds, st.floats(0.05, 1.2), st.sampled_from(SCOPES), st.sampled_from([1, 8]), st.booleans())
def test_until(graph: ChannelGraph, seed: int, level: float, scope: Scope, multiple: int, priced: bool) -> None:
    scores, costs = scores_of(graph, seed), work(graph)
    wanted = level * costs.macs(np.ones(graph.classes, np.bool_))
    seen: list[Keep] = []

    def enough(keep: Keep) -> bool:
        seen.append(keep.copy())
        return costs.macs(keep) <= wanted

    keep = remove_until(graph, scores, enough, costs.prices if priced else None, scope, multiple)
    check(graph, scores, keep, multiple)
    assert np.array_equal(seen[-1], keep)
    assert seen[0].all()
    # Not one step more than it takes.
    assert all(costs.macs(each) > wanted for each in seen[:-1])
    assert all((later <= earlier).all() for earlier, later in pairwise(seen))


@scopes
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: str(graph.model.name))
def test_the_least_still_computes(graph: ChannelGraph, scope: Scope) -> None:
    """Nothing is ever enough: every layer keeps something, and the network runs."""
    keep = remove_until(graph, scores_of(graph, 1), lambda _: False, None, scope, 1)
    check(graph, scores_of(graph, 1), keep, 1)
    smaller = remove(graph, keep)
    outputs = run(smaller, np.zeros((1, *smaller.inputs[0].shape[1:]), np.float32))
    assert [each.shape for each in outputs] == [tuple(each.shape) for each in graph.model.outputs]


def test_least_score_for_its_price_leaves_first() -> None:
    graph = channel_graph(make(chain))
    scores, costs = np.ones(graph.classes), work(graph)
    one, two = (graph.makes[name] for name in ("one", "two"))
    # With equal scores the dearer channels go: two reads all of one, the head little of two.
    taken: list[Keep] = []

    def once(keep: Keep) -> bool:
        taken.append(keep.copy())
        return len(taken) == 2

    keep = remove_until(graph, scores, once, costs.prices)
    prices = costs.prices(np.ones(graph.classes, np.bool_))
    dearest = one if prices[one].mean() > prices[two].mean() else two
    assert (~keep)[dearest].sum() == 8 == (~keep).sum()


def test_layers_give_in_turn() -> None:
    graph = channel_graph(make(chain))
    keep = remove_until(graph, scores_of(graph, 0), lambda k: k.sum() <= graph.classes - 16, None, "layer")
    assert {name: int(keep[graph.makes[name]].sum()) for name in ("one", "two")} == {"one": 8, "two": 16}


def test_small_layers_keep_all() -> None:
    graph = channel_graph(make(narrow))
    for scope in SCOPES:
        keep = remove_share(graph, scores_of(graph, 0), 0.3, scope)
        left = {name: int(keep[graph.makes[name]].sum()) for name in ("six", "twelve", "twenty")}
        assert left["six"] == 6
        assert left["twelve"] in (8, 12)
        assert left["twenty"] in (8, 16)


def test_multiple_of_one_takes_the_very_share() -> None:
    graph = channel_graph(make(narrow))
    keep = remove_share(graph, scores_of(graph, 0), 0.5, "layer", 1)
    assert [int(keep[graph.makes[name]].sum()) for name in ("six", "twelve", "twenty")] == [3, 6, 10]
    assert remove_share(graph, scores_of(graph, 0), 0.5, "global", 1)[graph.free()].sum() == 19


@scopes
@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, 2.0, float("nan"), float("inf")])
def test_no_share(ratio: float, scope: Scope) -> None:
    graph = GRAPHS[0]
    for call in (lambda: check_ratio(ratio), lambda: remove_share(graph, scores_of(graph, 0), ratio, scope)):
        with pytest.raises(InputError, match="expected a share of the channels above 0 and below 1") as caught:
            call()
        assert caught.value.line().count("\n") == 0


@pytest.mark.parametrize(
    ("build", "scope", "names", "limit"),
    # Half of the channels of ``one`` and a third of those of ``two`` always stay.
    [(chain, "layer", ["one", "16 channels"], 0.93), (chain, "global", ["of", "8 channels"], 0.6)],
)
def test_emptied_layer_is_named(build: Callable[[Any], Any], scope: Scope, names: list[str], limit: float) -> None:
    graph = channel_graph(make(build))
    with pytest.raises(InputError, match=f"at most {limit:g}") as caught:
        remove_share(graph, scores_of(graph, 0), 0.99, scope)
    assert all(name in str(caught.value) for name in names)
    assert remove_share(graph, scores_of(graph, 0), limit, scope).any()


def test_everything_frozen_stays() -> None:
    graph = channel_graph(make(lambda image: conv(image, 8, name="head")))
    for scope in SCOPES:
        assert remove_share(graph, scores_of(graph, 0), 0.5, scope).all()
