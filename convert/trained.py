"""Networks this project defines: from a recipe and a weights file to a source model."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import keras

from convert.models.ssd import SsdConfig, default_heads, ssd
from convert.recipe import NetworkRecipe, Recipe, TrainedRecipe, weights_file
from convert.source import SourceModel
from convert.train.record import read_provenance
from convert.train.weights import load_weights
from runtime.card import DecoderSpec, HeadSpec, InputSpec, Labels, Source, SourceFile
from runtime.errors import InputError

# -1 to just below 1, so that the int8 number of a pixel is the pixel minus 128.
_SCALE, _OFFSET = 1 / 128, -1.0
BACKGROUND = "background"


def network(recipe: NetworkRecipe, classes: int, size: int) -> tuple[keras.Model, tuple[HeadSpec, ...]]:
    """The architecture of a recipe, with random weights, for an input of ``size`` pixels.

    Anchors keep their pixels whatever the input: convolutions see pixels, so a net that was trained on small pictures
    goes on finding things of the same size in large ones.

    Raises:
        InputError: The architecture does not fit its heads.
    """
    heads = recipe.heads or default_heads(recipe.size, 2 if recipe.neck else 6)
    try:
        return ssd(SsdConfig(classes, size, recipe.width, recipe.lite, recipe.neck, recipe.kernel, heads))
    except ValueError as error:
        raise InputError(f"the recipe's network cannot be built ({error})", "", "check [source.network]") from None


def source_model(recipe: Recipe, model: keras.Model, heads: tuple[HeadSpec, ...], background: bool) -> SourceModel:
    """A trained network with what the device must know about it."""
    trained = recipe.source
    assert isinstance(trained, TrainedRecipe)
    _, height, width, _ = model.inputs[0].shape
    names = ((BACKGROUND,) if background else ()) + trained.labels
    return SourceModel(
        name=recipe.name,
        model=model,
        input=InputSpec("image", width, height, "rgb", recipe.input.resize or "stretch", (_SCALE,), (_OFFSET,)),
        decoder=DecoderSpec("ssd", heads, activation="softmax" if background else "sigmoid"),
        labels=Labels(names, background),
        source=Source("trained", licence=recipe.licence, homepage=recipe.homepage),
        thresholds=recipe.thresholds,
    )


def uses_background(recipe: Recipe) -> bool:
    """Whether the network's classes are a softmax with background in front."""
    return recipe.train is not None and recipe.train.class_loss == "hard-negative"


def load_trained(recipe: Recipe, path: Path | None = None, size: int | None = None) -> SourceModel:
    """The network of a recipe with its weights: pruned where those are a pruned network's.

    Args:
        recipe: The recipe.
        path: Other weights than the recipe's.
        size: Input pixels instead of the recipe's.

    Raises:
        InputError: The weights are missing, damaged or of another network.
    """
    path = path or weights_file(recipe)
    source = random_network(recipe, size)
    if recipe.prune:
        from convert.prune.narrow import load_narrow

        model, pruning = load_narrow(source.model, path)
        source = dataclasses.replace(source, model=model, pruning=pruning)
    else:
        load_weights(source.model, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    provenance = read_provenance(path)
    made_of = dataclasses.replace(source.source, files=(SourceFile(path.name, digest),), provenance=provenance)
    return dataclasses.replace(source, source=made_of)


def load_whole(recipe: Recipe) -> SourceModel:
    """The network of a recipe with its trained weights, before any pruning.

    Raises:
        InputError: The weights are missing, damaged or of another network.
    """
    return load_trained(dataclasses.replace(recipe, prune=None))


def random_network(recipe: Recipe, size: int | None = None) -> SourceModel:
    """The network of a recipe with random weights, for its own input size or another.

    Raises:
        InputError: The architecture does not fit its heads.
    """
    trained = recipe.source
    assert isinstance(trained, TrainedRecipe)
    background = uses_background(recipe)
    model, heads = network(trained.network, len(trained.labels) + background, size or trained.network.size)
    return source_model(recipe, model, heads, background)
