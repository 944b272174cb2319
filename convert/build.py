"""``python -m convert build``: a recipe to a model file, once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from convert.budget import require_objects
from convert.cards import tool_versions
from convert.data import Dataset, read_dataset, summary
from convert.data.scenes import scenes_folder
from convert.fetch import fetch_calibration, fetch_file, find_folder
from convert.progress import Progress
from convert.quiet import import_keras
from convert.recipe import Budget, DarknetRecipe, Recipe, TrainedRecipe, weights_file
from convert.result import Result
from convert.source import SourceModel
from convert.stopwatch import LocalStopwatch
from convert.train.recipe import FolderRecipe, ScenesRecipe
from runtime.card import ModelCard, SourceFile
from runtime.errors import EdgewrenError, InputError
from runtime.files import MAX_TEXT_BYTES, make_folder
from runtime.modelfile import read_card
from runtime.sources.images import IMAGE_SUFFIXES

Say = Callable[[str], None]


def build(
    recipe: Recipe,
    out: Path,
    mirror: Path | None,
    say: Say,
    calibration: Path | None = None,
    untrained: bool = False,
    budget: Budget | None = None,
    report: Path | None = None,
) -> Result:
    """Builds a recipe unless the file in place was made of the same recipe and pictures by the same tools.

    Args:
        recipe: What to build.
        out: Folder for the model file; sources and generated scenes are kept beside it.
        mirror: Folder looked in before the network.
        say: Takes progress messages.
        calibration: Pictures to use instead of the recipe's.
        untrained: Build a network of this project with random weights, to time it before it is trained.
        budget: Overrides those fields of the recipe's budget that are not ``None``.
        report: Folder for a report, which is never skipped; by default ``reports/`` and the recipe's name beside
            ``out``, where there are annotated pictures.

    Raises:
        BudgetError: Quantisation cost more than the budget allows; an older file stays.
        InputError: A source is not to be had, or is not what it should be.
        RunError: The converter failed, or a file could not be written.
    """
    if untrained:
        recipe = _untrained(recipe)
    budget = budget or Budget()
    if budget != Budget() and not _has_evaluation(recipe, mirror):
        raise InputError(
            f"{recipe.name} has no annotated images here to hold a budget against",
            "expected the recipe's evaluation data",
            "give --mirror DIR that has it, or leave out --max-drop and --min-agreement",
        )
    target = make_folder(out) / f"{recipe.name}.tflite"
    key = build_key(recipe, calibration, mirror, budget)
    card = _card_in_place(target)
    if card is not None and card.build == key and report is None:
        return Result(target, target.stat().st_size, card, "up to date")

    sources = out.parent / "sources" / recipe.name
    load = _loader(recipe, sources, mirror, say)
    pictures = calibration or calibration_folder(recipe, sources, mirror, say)
    dataset = evaluation_data(recipe, out.parent, mirror)
    if dataset is not None and dataset.problems:
        say(summary(dataset))
    limits = _limits(recipe.budget, budget)
    if limits and dataset is not None:
        require_objects(dataset)

    # TensorFlow takes seconds to import: only when there is something to build.
    import_keras()
    from convert.conversion import convert

    source = load()
    if recipe.prune and source.pruning is None:
        source = _pruned(recipe, source, pictures, dataset, out.parent, mirror, say)
    if report is None and dataset is not None:
        report = out.parent / "reports" / recipe.name
    return convert(source, pictures, target, dataset, say, key, budget=limits, report=report)


def _pruned(
    recipe: Recipe,
    source: SourceModel,
    pictures: Path,
    dataset: Dataset | None,
    work: Path,
    mirror: Path | None,
    say: Say,
) -> SourceModel:
    """What the ``[prune]`` section makes of a network; rounds that are there already are not done again."""
    from convert.prune.run import Workplace
    from convert.prune.sources import prune_by_recipe

    assert recipe.prune is not None
    place = Workplace(work / "prune" / recipe.name, False, dataset, None, LocalStopwatch(), say)
    return prune_by_recipe(recipe, source, recipe.prune.plan(), pictures, place, work, mirror).source


def _limits(recipe: Budget | None, override: Budget) -> Budget | None:
    """The recipe's budget, with what the user gave in place of its fields."""
    given = {name: value for name, value in vars(override).items() if value is not None}
    return dataclasses.replace(recipe or Budget(), **given) if recipe or given else None


def _loader(recipe: Recipe, sources: Path, mirror: Path | None, say: Say) -> Callable[[], SourceModel]:
    """Brings the files of a recipe's network here; what is returned reads them."""
    if isinstance(recipe.source, DarknetRecipe):
        return _darknet_loader(recipe, recipe.source, sources, mirror, say)

    def load() -> SourceModel:
        from convert.trained import load_trained, random_network

        return load_trained(recipe) if recipe.source.weights else random_network(recipe)

    if recipe.source.weights:
        weights_file(recipe)
    return load


def _untrained(recipe: Recipe) -> Recipe:
    """The recipe without weights, data and accuracy, under a name that says so.

    Raises:
        InputError: The network is not one of this project's.
    """
    if not isinstance(recipe.source, TrainedRecipe):
        raise InputError(f"{recipe.name} is {recipe.source.format}", "expected a network that is trained here")
    return dataclasses.replace(
        recipe,
        name=f"{recipe.name}-untrained",
        source=dataclasses.replace(recipe.source, weights="", labels=recipe.source.labels or ("object",)),
        calibration=ScenesRecipe("cards", 16, 0),
        evaluation=None,
        budget=None,
        prune=None,
    )


def _darknet_loader(
    recipe: Recipe, files: DarknetRecipe, sources: Path, mirror: Path | None, say: Say
) -> Callable[[], SourceModel]:
    model, weights, labels = (
        fetch_file(file, sources, mirror, say) for file in (files.model, files.weights, files.labels)
    )
    urls = {Path(file.path).name: file.url for file in (files.model, files.weights, files.labels)}

    def load() -> SourceModel:
        from convert.importers import load_source

        say(f"reading {model}")
        size = (recipe.input.size, recipe.input.size) if recipe.input.size else None
        source = load_source(model, weights, labels, size)
        named = tuple(SourceFile(file.name, file.sha256, urls.get(file.name, "")) for file in source.source.files)
        return dataclasses.replace(
            source,
            name=recipe.name,
            input=dataclasses.replace(source.input, resize=recipe.input.resize or source.input.resize),
            thresholds=recipe.thresholds,
            source=dataclasses.replace(source.source, files=named, licence=recipe.licence, homepage=recipe.homepage),
        )

    return load


def calibration_folder(recipe: Recipe, sources: Path, mirror: Path | None, say: Say) -> Path:
    """The folder of a recipe's calibration pictures.

    Args:
        recipe: The recipe.
        sources: Folder for what is fetched; scenes are drawn beside its parent.
        mirror: Folder looked in before the network.
        say: Takes progress messages.

    Raises:
        InputError: They are not to be had.
    """
    wanted = recipe.calibration
    if isinstance(wanted, ScenesRecipe):
        return scenes_folder(wanted, sources.parent.parent / "scenes", Progress("drawing scenes"))
    if isinstance(wanted, FolderRecipe):
        found = find_folder(wanted.path, mirror, recipe.folder)
        if found is None:
            raise InputError(
                f"{recipe.name} is calibrated on {wanted.path}", "expected that folder", "give --calibration DIR"
            )
        return found
    return fetch_calibration(recipe.folder / wanted.manifest, wanted, sources / "calibration", mirror, say)


def evaluation_data(recipe: Recipe, work: Path, mirror: Path | None) -> Dataset | None:
    """The annotated pictures a recipe is measured on, if they are to be had."""
    wanted = recipe.evaluation
    if isinstance(wanted, ScenesRecipe):
        return read_dataset(scenes_folder(wanted, work / "scenes", Progress("drawing scenes")))
    found = find_folder(wanted.path, mirror, recipe.folder) if wanted else None
    return read_dataset(found) if found else None


def _has_evaluation(recipe: Recipe, mirror: Path | None) -> bool:
    wanted = recipe.evaluation
    if isinstance(wanted, FolderRecipe):
        return find_folder(wanted.path, mirror, recipe.folder) is not None
    return wanted is not None


def build_key(recipe: Recipe, calibration: Path | None, mirror: Path | None, budget: Budget) -> str:
    """Hash of everything that decides what comes out: the recipe, this code, the tools, the data that is there."""
    digest = hashlib.sha256(Path(recipe.file).read_bytes())
    if isinstance(recipe.source, TrainedRecipe) and recipe.source.weights:
        digest.update(weights_file(recipe).read_bytes())
    package = Path(__file__).resolve().parent
    code = [*package.rglob("*.py"), *(package.parent / "runtime").rglob("*.py")]
    for path in sorted(code):
        digest.update(path.read_bytes())
    digest.update(repr(sorted(tool_versions().items())).encode())
    evaluation = recipe.evaluation
    digest.update(f"{calibration and calibration.resolve()} {_has_evaluation(recipe, mirror)}".encode())
    own = recipe.calibration.path if isinstance(recipe.calibration, FolderRecipe) else ""
    for folder in (
        calibration or find_folder(own, None, recipe.folder),
        find_folder(evaluation.path, mirror, recipe.folder) if isinstance(evaluation, FolderRecipe) else None,
    ):
        if folder is not None:
            _add_contents(digest, folder)
    # A file that was never held against this budget is not up to date; without one the key stays what it was.
    if budget != Budget():
        digest.update(repr(budget).encode())
    return digest.hexdigest()


def _add_contents(digest: hashlib._Hash, folder: Path) -> None:
    """Adds what lies below a folder: labels by their text, pictures, which may be many, by name and size."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()!a} {size}".encode())
        if path.suffix.lower() not in IMAGE_SUFFIXES and size <= MAX_TEXT_BYTES:
            digest.update(path.read_bytes())


def _card_in_place(target: Path) -> ModelCard | None:
    try:
        return read_card(target)
    except EdgewrenError:
        return None
