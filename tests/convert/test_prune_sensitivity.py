"""Scores of bundles on one scale: checked against networks that really lost the channels."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convert.prune.choose import bundles
from convert.prune.graph import channel_graph
from convert.prune.rank import rank
from convert.prune.sensitivity import weigh
from convert.prune.surgery import remove
from tests.convert.small_nets import conv, make, pictures, relu


def net() -> keras.Model:
    def build(x):  # type: ignore[no-untyped-def]
        x = relu(conv(x, 8))
        y = relu(conv(x, 12))
        y = keras.layers.Add()([conv(y, 8), x])
        return [conv(y, 5, 1, name="first"), conv(relu(y), 4, 1, name="second")]

    return make(build)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_lower_half_of_a_bundle_adds_up_to_what_its_loss_changes(weighted: bool) -> None:
    model, samples = net(), pictures(6)
    graph = channel_graph(model)
    scores = rank(graph, "l1")
    weights = [np.random.default_rng(0).random((6, 16, 16)).astype(np.float32)] * 2 if weighted else None
    weighed = weigh(graph, scores, samples, weights)
    before = [np.asarray(each) for each in model(samples)]
    checked = 0
    for members in bundles(graph):
        own = members[graph.free()[members]]
        if not len(own):
            continue
        half = own[np.argsort(scores[own], kind="stable")][: len(own) // 2]
        keep = np.ones(graph.classes, np.bool_)
        keep[half] = False
        after = [np.asarray(each) for each in remove(graph, keep)(samples)]
        squares = [((b - a) / b.std()) ** 2 for b, a in zip(before, after, strict=True)]
        if weights:
            squares = [s * w[..., None] for s, w in zip(squares, weights, strict=True)]
        assert weighed[half].sum() == pytest.approx(sum(float(s.sum()) for s in squares) / 6, rel=1e-3)
        assert np.argsort(weighed[own], kind="stable").tolist() == np.argsort(scores[own], kind="stable").tolist()
        checked += 1
    assert checked == 2


def test_the_network_is_left_as_it_was() -> None:
    model, samples = net(), pictures(4)
    before = model.get_weights()
    graph = channel_graph(model)
    weigh(graph, rank(graph, "l2"), samples)
    assert all(map(np.array_equal, before, model.get_weights()))
