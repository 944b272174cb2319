"""Opening whatever can be measured: model files, files from elsewhere, float networks, recipes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.card import ModelCard
from runtime.classifier import Classifier
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.opening import open_engine, with_labels

if TYPE_CHECKING:
    from convert.source import SourceModel

Resize = Literal["stretch", "letterbox"]

_SOURCES = (".cfg", ".h5", ".keras", ".onnx")


def open_model(
    path: Path,
    labels: Path | None = None,
    weights: Path | None = None,
    like: ModelCard | None = None,
    resize: Resize | None = None,
) -> Detector | Classifier:
    """A detector or classifier over anything, so that all run through the same preprocessing and decoding.

    Args:
        path: A ``.tflite`` with a card, or one from elsewhere that can be recognised; a float network (``.cfg``, or a
            ``.keras`` that prune wrote); a recipe's name or path whose network was trained here.
        labels: Class names, one per line, instead of the model's.
        weights: Weights of the float network; by default those beside it.
        like: The card of a model this one is a reference for. A float network of its kind takes over its input size
            and thresholds, so that only the width of the numbers differs (a ``.keras`` keeps its own size); a label
            file of the wrong length is taken to be the other model's alone.
        resize: How images are fitted to a float network; by default as it says.

    Raises:
        InputError: A file that is missing, broken, or nothing of these.
    """
    if like is not None and labels is not None:
        try:
            return _open(path, labels, weights, like, resize)
        except InputError:
            return _open(path, None, weights, like, resize)
    return _open(path, labels, weights, like, resize)


def open_detector(
    path: Path,
    labels: Path | None = None,
    weights: Path | None = None,
    like: ModelCard | None = None,
    resize: Resize | None = None,
) -> Detector:
    """:func:`open_model` where only a detector will do.

    Raises:
        InputError: As for that, and for a classifier.
    """
    model = open_model(path, labels, weights, like, resize)
    if isinstance(model, Classifier):
        raise InputError(f"{path} is a classifier", "expected a detector", "compare models for the same task")
    return model


def open_classifier(path: Path, labels: Path | None = None, like: ModelCard | None = None) -> Classifier:
    """:func:`open_model` where only a classifier will do.

    Raises:
        InputError: As for that, and for a detector.
    """
    model = open_model(path, labels, like=like)
    if isinstance(model, Detector):
        raise InputError(f"{path} is a detector", "expected a classifier", "compare models for the same task")
    return model


def _open(
    path: Path, labels: Path | None, weights: Path | None, like: ModelCard | None, resize: Resize | None
) -> Detector | Classifier:
    if path.suffix.lower() == ".tflite":
        card, engine = open_engine(path, None, labels)
        return Detector(card, engine) if card.task == "detect" else Classifier(card, engine)
    same = _same_kind(like, "ssd" if is_recipe(path) else "yolo")
    return _float_detector(open_float(path, labels, weights, same), labels if is_recipe(path) else None, same, resize)


def open_float(
    path: Path, labels: Path | None = None, weights: Path | None = None, like: ModelCard | None = None
) -> SourceModel:
    """A float network, before splitting.

    Args:
        path: A float network (``.cfg``, or a ``.keras`` that prune wrote), or a recipe's name or path whose network
            was trained here.
        labels: Class names of a ``.cfg``, one per line.
        weights: Weights of the network; by default those beside it.
        like: Take over the input size of this card, unless it is a ``.keras``, whose size is fixed.

    Raises:
        InputError: A file that is missing, broken, or neither.
    """
    if is_recipe(path):
        return _trained(path, weights, like)
    from convert.importers import load_source

    if path.suffix.lower() == ".keras":
        like = None
    return load_source(path, weights, labels, (like.input.width, like.input.height) if like else None)


def _same_kind(like: ModelCard | None, decoder: str) -> ModelCard | None:
    """The other model's card if it can be the same network in int8."""
    return like if like and like.decoder.name == decoder else None


def is_recipe(path: Path) -> bool:
    """Whether a recipe is meant: a ``.toml``, or a bare name that is no file."""
    if path.suffix.lower() == ".toml":
        return True
    return path.suffix.lower() not in _SOURCES and path.name == str(path) and not path.exists()


def _trained(path: Path, weights: Path | None, like: ModelCard | None) -> SourceModel:
    """The float network of a recipe.

    Raises:
        InputError: It is not trained here, or its weights are missing.
    """
    from convert.recipe import TrainedRecipe, load_recipe, weights_file

    recipe = load_recipe(str(path))
    if not isinstance(recipe.source, TrainedRecipe):
        raise InputError(
            f"recipe {recipe.name} is {recipe.source.format}",
            "expected one whose network is trained here",
            "give its .cfg, or the model file python -m convert build makes of it",
        )
    stored = weights or weights_file(recipe)

    from convert.quiet import import_keras

    import_keras()
    from convert.trained import load_trained

    width, height = (like.input.width, like.input.height) if like else (0, 0)
    return load_trained(recipe, stored, width if width == height and width else None)


def _float_detector(
    source: SourceModel, labels: Path | None, like: ModelCard | None, resize: Resize | None
) -> Detector:
    from convert.cards import make_card
    from convert.evaluate.keras_executor import KerasExecutor
    from convert.quantize.heads import split_heads

    split = split_heads(source)
    card = make_card(source, split.bindings)
    if labels:
        card = with_labels(card, labels)
    if like:
        theirs = like.input
        spec = dataclasses.replace(
            card.input, resize=theirs.resize, pad_value=theirs.pad_value, position=theirs.position, crop=theirs.crop
        )
        card = dataclasses.replace(card, input=spec, thresholds=like.thresholds)
    elif resize:
        card = dataclasses.replace(card, input=dataclasses.replace(card.input, resize=resize))
    return Detector(card, KerasExecutor(split, card.input))
