"""``python -m convert build``: a recipe to a model file, once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from convert.cards import tool_versions
from convert.data import read_dataset, summary
from convert.fetch import fetch_calibration, fetch_file, find_folder
from convert.quiet import import_keras
from convert.recipe import Recipe
from convert.result import Result
from runtime.card import ModelCard, SourceFile
from runtime.errors import EdgewrenError
from runtime.modelfile import read_card

Say = Callable[[str], None]


def build(recipe: Recipe, out: Path, mirror: Path | None, say: Say, calibration: Path | None = None) -> Result:
    """Builds a recipe unless the file in place was made from the same recipe by the same tools.

    Args:
        recipe: What to build.
        out: Folder for the model file; sources are kept in ``sources/`` beside it.
        mirror: Folder looked in before the network.
        say: Takes progress messages.
        calibration: Pictures to use instead of the recipe's.

    Raises:
        InputError: A source is not to be had, or is not what it should be.
        RunError: The converter failed, or a file could not be written.
    """
    target = out / f"{recipe.name}.tflite"
    evaluation = find_folder(recipe.evaluation.path, mirror) if recipe.evaluation else None
    key = _build_key(recipe, calibration, evaluation)
    card = _card_in_place(target)
    if card is not None and card.build == key:
        return Result(target, target.stat().st_size, card, "up to date")

    sources = out.parent / "sources" / recipe.name
    files = recipe.source
    model, weights, labels = (
        fetch_file(file, sources, mirror, say) for file in (files.model, files.weights, files.labels)
    )
    pictures = calibration or fetch_calibration(recipe, sources / "calibration", mirror, say)
    dataset = read_dataset(evaluation) if evaluation else None
    if dataset and dataset.problems:
        say(f"{summary(dataset)} (convert evaluate lists them)")

    # TensorFlow takes seconds to import: only when there is something to build.
    import_keras()
    from convert.conversion import convert
    from convert.importers import load_source

    say(f"reading {model}")
    size = (recipe.input.size, recipe.input.size) if recipe.input.size else None
    source = load_source(model, weights, labels, size)
    urls = {Path(file.path).name: file.url for file in (files.model, files.weights, files.labels)}
    source = dataclasses.replace(
        source,
        name=recipe.name,
        input=dataclasses.replace(source.input, resize=recipe.input.resize or source.input.resize),
        thresholds=recipe.thresholds,
        source=dataclasses.replace(
            source.source,
            files=tuple(SourceFile(file.name, file.sha256, urls.get(file.name, "")) for file in source.source.files),
            licence=recipe.licence,
            homepage=recipe.homepage,
        ),
    )
    out.mkdir(parents=True, exist_ok=True)
    return convert(source, pictures, target, dataset, say, key)


def _build_key(recipe: Recipe, calibration: Path | None, evaluation: Path | None) -> str:
    """Hash of everything that decides what comes out: the recipe, this code, the tools, the data that is there."""
    digest = hashlib.sha256(Path(recipe.file).read_bytes())
    package = Path(__file__).resolve().parent
    code = [*package.rglob("*.py"), *(package.parent / "runtime").rglob("*.py")]
    for path in sorted(code):
        digest.update(path.read_bytes())
    digest.update(repr(sorted(tool_versions().items())).encode())
    digest.update(f"{calibration and calibration.resolve()} {evaluation is not None}".encode())
    return digest.hexdigest()


def _card_in_place(target: Path) -> ModelCard | None:
    try:
        return read_card(target)
    except EdgewrenError:
        return None
