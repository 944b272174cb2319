"""Pruned networks from their weights alone, and files that are not such weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from convert.prune.choose import remove_share
from convert.prune.lineage import Lineage
from convert.prune.narrow import load_narrow, pruning
from convert.prune.rank import rank
from convert.prune.surgery import remove
from convert.recipe import Recipe, TrainedRecipe, load_recipe
from convert.train.weights import read_weights, save_weights
from convert.trained import load_trained, random_network
from runtime.errors import InputError
from tests.convert.prune_family import counted
from tests.convert.small_nets import conv, make, pictures, randomise, relu, run

SIZE = 96


def small_recipe() -> Recipe:
    """The cards net, as narrow as it gets, on pictures of 96 pixels."""
    recipe = load_recipe("playing-cards-wide")
    assert isinstance(recipe.source, TrainedRecipe)
    network = dataclasses.replace(recipe.source.network, size=SIZE, width=0.35, neck=32)
    return dataclasses.replace(recipe, source=dataclasses.replace(recipe.source, network=network))


@pytest.fixture(scope="module")
def whole() -> keras.Model:
    return randomise(random_network(small_recipe()).model, 1)


@pytest.fixture(scope="module")
def pruned(whole: keras.Model) -> keras.Model:
    graph = Lineage(whole).graph
    return remove(graph, remove_share(graph, rank(graph, "l1"), 0.4, "global"))


@pytest.fixture
def weights(pruned: keras.Model, tmp_path: Path) -> Path:
    path = tmp_path / "small.npz"
    save_weights(path, pruned)
    return path


def change(path: Path, **arrays: np.ndarray | None) -> Path:
    """The same weights with some of them replaced, or left out."""
    changed = {name.replace("__", "/"): array for name, array in arrays.items()}
    stored: dict[str, Any] = {
        name: array for name, array in (read_weights(path) | changed).items() if array is not None
    }
    with path.open("wb") as stream:
        np.savez(stream, **stored)
    return path


def test_same_network_from_its_weights(whole: keras.Model, pruned: keras.Model, weights: Path) -> None:
    model, gone = load_narrow(whole, weights)
    images = pictures(2, SIZE, SIZE)
    for found, expected in zip(run(model, images), run(pruned, images), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert gone is not None
    assert (gone.macs_before, gone.macs_after) == (counted(whole), counted(pruned))
    made = [
        sum(layer.filters for layer in net.layers if isinstance(layer, keras.layers.Conv2D)) for net in (whole, pruned)
    ]
    assert gone.ratio == round(1 - made[1] / made[0], 4)
    assert 0.2 < gone.ratio < 0.5
    assert pruning(whole, pruned) == gone


def test_whole_network_is_not_pruned(whole: keras.Model, tmp_path: Path) -> None:
    save_weights(tmp_path / "whole.npz", whole)
    model, gone = load_narrow(whole, tmp_path / "whole.npz")
    assert gone is None
    assert all(map(np.array_equal, model.get_weights(), whole.get_weights()))


def groups(image: Any) -> Any:
    """Grouped convolutions of two, three and one channel a group."""
    x = relu(conv(image, 8, name="plain"))
    x = relu(conv(x, 12, groups=4, name="fours"))
    x = relu(conv(x, 12, groups=12, name="each"))
    return conv(x, 5, 1, name="head")


@pytest.fixture(scope="module")
def grouped() -> keras.Model:
    return make(groups)


@pytest.mark.parametrize("left", [3, 1])
def test_groups_that_left(left: int, grouped: keras.Model, tmp_path: Path) -> None:
    graph = Lineage(grouped).graph
    keep = np.ones(graph.classes, np.bool_)
    keep[graph.makes["fours"][3 * left :]] = False
    pruned = remove(graph, keep)
    assert (pruned.get_layer("fours").groups, pruned.get_layer("each").groups) == (left, 3 * left)
    save_weights(tmp_path / "groups.npz", pruned)
    model, gone = load_narrow(grouped, tmp_path / "groups.npz")
    assert (model.get_layer("fours").groups, model.get_layer("each").groups) == (left, 3 * left)
    for found, expected in zip(run(model, pictures(2)), run(pruned, pictures(2)), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert gone is not None
    assert (gone.macs_before, gone.macs_after) == (counted(grouped), counted(pruned))


@pytest.mark.parametrize("count", [1, 2, 4, 11])
def test_a_part_of_a_group(count: int, grouped: keras.Model, tmp_path: Path) -> None:
    """Four groups of three filters: these are no whole groups."""
    save_weights(tmp_path / "parts.npz", grouped)
    stored = read_weights(tmp_path / "parts.npz")
    kernel, bias = stored["fours/kernel"][..., :count], stored["fours/bias"][:count]
    change(tmp_path / "parts.npz", fours__kernel=kernel, fours__bias=bias)
    with pytest.raises(InputError, match=r"parts\.npz does not fit together|parts\.npz has no weights for layer"):
        load_narrow(grouped, tmp_path / "parts.npz")


def test_recipe_with_pruned_weights(pruned: keras.Model, weights: Path) -> None:
    recipe = small_recipe()
    with pytest.raises(InputError, match=r"small\.npz has no weights for layer"):
        load_trained(recipe, weights)
    from convert.prune.plan import PruneRecipe

    source = load_trained(dataclasses.replace(recipe, prune=PruneRecipe(ratio=0.4, weights=weights.name)), weights)
    assert source.pruning is not None
    assert source.pruning.macs_after == counted(pruned)
    assert source.source.files[0].name == "small.npz"


def test_missing_damaged_and_text(whole: keras.Model, weights: Path, tmp_path: Path) -> None:
    data = weights.read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.npz").write_text("weights\n" * 9)
    (tmp_path / "flipped.npz").write_bytes(data[:5000] + bytes(200) + data[5200:])
    for name in ("missing", "cut", "text", "flipped"):
        with pytest.raises(InputError, match=f"{name}.npz") as caught:
            load_narrow(whole, tmp_path / f"{name}.npz")
        assert "\n" not in caught.value.line()


def test_foreign_weights(whole: keras.Model, tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    save_weights(tmp_path / "other.npz", keras.Model(image, keras.layers.Conv2D(4, 3, name="stranger")(image)))
    with pytest.raises(InputError, match="no weights for layer"):
        load_narrow(whole, tmp_path / "other.npz")


def test_wider_network_is_not_a_pruned_one(weights: Path, pruned: keras.Model, whole: keras.Model) -> None:
    """Loaded as a version of the small net, the whole one's weights would be minus so many percent of it."""
    save_weights(weights, whole)
    with pytest.raises(InputError, match=r"channels for layer .* at most"):
        load_narrow(pruned, weights)


def test_heads_are_never_narrower(whole: keras.Model, weights: Path) -> None:
    """Consistent in itself, but with a class less than the recipe."""
    layer = whole.outputs[1]._keras_history.operation
    kernel, bias = read_weights(weights)[f"{layer.name}/kernel"], read_weights(weights)[f"{layer.name}/bias"]
    assert kernel.shape[-1] == 18
    change(weights, **{f"{layer.name}__kernel": kernel[..., :15], f"{layer.name}__bias": bias[:15]})
    with pytest.raises(InputError, match="has heads of"):
        load_narrow(whole, weights)


def test_weights_that_do_not_fit_together(whole: keras.Model, pruned: keras.Model, weights: Path) -> None:
    """One layer loses channels that others still expect."""
    tied = next(layer for layer in pruned.layers if isinstance(layer, keras.layers.Add))
    maker = tied.input[0]._keras_history.operation
    while not isinstance(maker, keras.layers.Conv2D):
        maker = maker.input._keras_history.operation
    kernel = read_weights(weights)[f"{maker.name}/kernel"]
    change(weights, **{f"{maker.name}__kernel": kernel[..., :-3]})
    with pytest.raises(InputError, match=r"does not fit together|no weights for layer"):
        load_narrow(whole, weights)


@pytest.mark.parametrize("shape", [(), (0,), (1, 1, 4, 0), (3, 3)])
def test_strange_shapes(shape: tuple[int, ...], whole: keras.Model, weights: Path) -> None:
    first = next(layer for layer in whole.layers if isinstance(layer, keras.layers.Conv2D))
    change(weights, **{f"{first.name}__kernel": np.zeros(shape, np.float32)})
    with pytest.raises(InputError, match=r"small\.npz"):
        load_narrow(whole, weights)


def test_layer_left_out(whole: keras.Model, weights: Path) -> None:
    first = next(layer for layer in whole.layers if isinstance(layer, keras.layers.Conv2D))
    change(weights, **{f"{first.name}__kernel": None})
    with pytest.raises(InputError, match=f"no weights for layer {first.name}"):
        load_narrow(whole, weights)
