"""Fitting what is left: exact where nothing was lost, and nearer in any case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from convert.prune.choose import remove_share
from convert.prune.lineage import Lineage
from convert.prune.rank import rank
from convert.prune.reconstruct import reconstruct
from convert.prune.surgery import remove
from convert.quantize import refit
from convert.quantize.fold import fold_norms
from tests.convert.prune_family import chain, mixed, norm
from tests.convert.small_nets import conv, make, pictures, relu, run

layers = keras.layers


def distance(model: keras.Model, whole: keras.Model, images: np.ndarray) -> float:
    """Mean square error of the outputs as a share of their variance."""
    pairs = zip(run(model, images), run(whole, images), strict=True)
    return float(np.mean([((found - real) ** 2).mean() / real.var() for found, real in pairs]))


def twins(image: Any) -> Any:
    """Each channel of a layer will be there twice."""
    x = relu(norm(conv(image, 16, strides=2, use_bias=False, name="one")))
    x = relu(conv(x, 16, name="two"))
    return conv(x, 4, 1, name="head")


def doubled() -> keras.Model:
    whole = fold_norms(make(twins))
    for name in ("one", "two"):
        kernel, bias = whole.get_layer(name).get_weights()
        kernel[..., 8:], bias[8:] = kernel[..., :8], bias[:8]
        whole.get_layer(name).set_weights([kernel, bias])
    return whole


def test_a_copy_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a removed twin said, its twin can say alone."""
    monkeypatch.setattr(refit, "_RIDGE", 1e-9)
    monkeypatch.setattr(refit, "_LEAST_VARIANCE", 0.0)
    whole = doubled()
    lineage = Lineage(whole)
    keep = lineage.everything
    for name in ("one", "two"):
        keep[lineage.graph.makes[name][8:]] = False
    pruned = remove(lineage.graph, keep)
    unseen = pictures(8, seed=5)
    assert distance(pruned, whole, unseen) > 1e-2
    reconstruct(pruned, whole, lineage.channels(keep), pictures(16))
    for found, real in zip(run(pruned, unseen), run(whole, unseen), strict=True):
        np.testing.assert_allclose(found, real, atol=1e-4)


def test_a_copy_is_hardly_missed_with_the_ridge() -> None:
    whole = doubled()
    lineage = Lineage(whole)
    keep = lineage.everything
    keep[lineage.graph.makes["two"][8:]] = False
    pruned = remove(lineage.graph, keep)
    before = distance(pruned, whole, pictures(8, seed=5))
    reconstruct(pruned, whole, lineage.channels(keep), pictures(16))
    assert distance(pruned, whole, pictures(8, seed=5)) < before / 100


@pytest.mark.parametrize("build", [chain, mixed])
@pytest.mark.parametrize("seed", [1, 2])
def test_nearer_on_unseen_pictures(build: Callable[[Any], Any], seed: int) -> None:
    whole = fold_norms(make(build))
    lineage = Lineage(whole)
    keep = remove_share(lineage.graph, rank(lineage.graph, "random", seed=seed), 0.3, "global", 4)
    pruned = remove(lineage.graph, keep)
    unseen = pictures(16, seed=50 + seed)
    before = distance(pruned, whole, unseen)
    told: list[int] = []
    reconstruct(
        pruned, whole, lineage.channels(keep), pictures(16), None, lambda done, total: told.append(total - done)
    )
    after = distance(pruned, whole, unseen)
    assert after < 0.7 * before
    assert told == list(range(len(whole.layers)))[::-1]


def test_relevant_places_come_first() -> None:
    """With a weight on one half of the pictures the outputs there get nearer than without."""
    whole = fold_norms(make(chain))
    lineage = Lineage(whole)
    keep = lineage.everything
    keep[lineage.graph.makes["two"][:16]] = False
    images = pictures(16)
    where = np.zeros((16, 8, 8), np.float32)
    where[:, :4] = 1
    errors = []
    for relevance in (None, where):
        pruned = remove(lineage.graph, keep)
        reconstruct(pruned, whole, lineage.channels(keep), images, relevance)
        (found,), (real,) = run(pruned, images), run(whole, images)
        errors.append(float(((found - real)[:, :4] ** 2).mean()))
    assert errors[1] < errors[0]


def test_whole_network_stays_as_it_is() -> None:
    whole = fold_norms(make(chain))
    lineage = Lineage(whole)
    same = remove(lineage.graph, lineage.everything)
    before = same.get_weights()
    reconstruct(same, whole, lineage.channels(lineage.everything), pictures(4))
    for now, then in zip(same.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
