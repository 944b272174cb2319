"""``convert train``: a recipe and pictures to trained weights, with a record, a log and a plot."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from convert.cards import tool_versions
from convert.data import Dataset, open_data, read_dataset, uncounted
from convert.data.scenes import scenes_folder
from convert.evaluate.detection import average_precision, predict
from convert.evaluate.keras_executor import float_detector
from convert.fetch import fetch_file, find_folder
from convert.progress import Progress
from convert.recipe import Recipe, TrainedRecipe
from convert.source import SourceModel
from convert.train.checkpoint import State
from convert.train.feed import Pool
from convert.train.plot import plot_log
from convert.train.progress import Teller
from convert.train.recipe import FolderRecipe, RemoteFile, ScenesRecipe, TrainRecipe
from convert.train.record import write_record
from convert.train.trainee import FloatTrainee, Trainee
from convert.train.trainer import Training, train
from convert.train.weights import save_weights
from runtime.errors import InputError
from runtime.files import make_folder

Say = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """What a training needs beyond its recipe.

    Attributes:
        out: Folder for weights, record, checkpoint and plot.
        work: Folder for generated scenes and fetched files.
        mirror: Looked in before the network.
        strict: Refuse data with anything wrong in it.
        command: The command line, for the record.
        test: Annotated pictures for one measurement at the end.
        say: Takes progress messages.
    """

    out: Path
    work: Path
    mirror: Path | None
    strict: bool
    command: str
    test: Dataset | None
    say: Say


def run_training(recipe: Recipe, own: Dataset | None, session: Session, fresh: bool = False) -> Path:
    """Trains a recipe, or goes on with a training that was killed.

    Args:
        recipe: With a ``[train]`` section.
        own: Somebody's own pictures; by default those the recipe names.
        session: The rest.
        fresh: Start over even when a checkpoint is there.

    Returns:
        The weights file; record and plot lie beside it.

    Raises:
        InputError: Start weights or checkpoint that do not fit, or a folder that cannot be written.
        RunError: Training failed.
    """
    plan = recipe.train
    assert plan is not None
    trainee = FloatTrainee(_start(recipe, plan, session), plan.widen)
    origin: tuple[str, ...] = ()
    if plan.start:
        licence = f" ({plan.start.licence})" if plan.start.licence else ""
        origin = (f"started from the layers of {plan.start.path}{licence}; all layers trained",)
    return train_network(dataclasses.replace(recipe, qat=None), trainee, own, session, fresh, origin=origin)[0]


def train_network(
    recipe: Recipe,
    trainee: Trainee,
    own: Dataset | None,
    session: Session,
    fresh: bool = False,
    suffix: str = "",
    origin: tuple[str, ...] = (),
) -> tuple[Path, SourceModel]:
    """Trains something by the ``[train]`` section of a recipe, or goes on with a training that was killed.

    Args:
        recipe: With a ``[train]`` section; one with ``[qat]`` trains an int8 simulation.
        trainee: What is trained.
        own: Somebody's own pictures; by default those the recipe names.
        session: The rest.
        fresh: Start over even when a checkpoint is there.
        suffix: Added to the names of all files.
        origin: What the weights come from, for the record.

    Returns:
        The weights file, with record and plot beside it, and the network.

    Raises:
        InputError: Start weights or checkpoint that do not fit, pictures without any class of the network, or a folder
            that cannot be written.
        RunError: Training failed.
    """
    plan, trained = recipe.train, recipe.source
    assert plan is not None
    assert isinstance(trained, TrainedRecipe)
    make_folder(session.out)
    checkpoint = session.out / f"checkpoint{suffix}.npz"
    if fresh:
        checkpoint.unlink(missing_ok=True)
    datasets = (own,) if own else tuple(open_recipe_data(data, recipe, session) for data in plan.data)
    for dataset in datasets:
        if text := uncounted(dataset, trained.labels):
            session.say(text)
    during = _measured_during(recipe, session)
    training = Training(
        recipe,
        tuple(Pool(dataset, trained.labels) for dataset in datasets),
        checkpoint,
        lambda source: tell(measure_on(source, during), session.say),
        Teller(plan.steps),
        trainee,
    )
    source, state = train(training)
    # What is trained on is the pruned network, where there is one; what is trained anew is the whole one.
    start = recipe.prune.weights if suffix and recipe.prune else ""
    weights = session.out / f"{Path(start or trained.weights).stem}{suffix}.npz"
    save_weights(weights, source.model)
    title = f"{recipe.name}{suffix}: {plan.steps} steps, seed {plan.seed}"
    plot_log(session.out / f"training{suffix}.png", state.log, title)
    accuracy = {key: value for key, value in (state.log[-1] if state.log else {}).items() if "map50" in key}
    if session.test is not None:
        accuracy |= tell(measure_on(source, {session.test.name: session.test}), session.say)
    sources = plan.data if own is None else (FolderRecipe(own.name),)
    provenance = [_ingredient(data, dataset) for data, dataset in zip(sources, datasets, strict=True)]
    write_record(weights, _record(recipe, [*provenance, *origin], session, state, weights, accuracy))
    return weights, source


def open_recipe_data(data: FolderRecipe | ScenesRecipe, recipe: Recipe, session: Session) -> Dataset:
    """Annotated pictures a recipe names; tells on stderr what is wrong with them.

    Raises:
        InputError: They are not to be had, or cannot be used.
    """
    if isinstance(data, ScenesRecipe):
        folder = scenes_folder(data, session.work / "scenes", Progress("drawing scenes"))
        return read_dataset(folder, progress=Progress(f"checking {folder.name}"))
    path = find_folder(data.path, session.mirror, recipe.folder)
    if path is None:
        where = f"{session.mirror} has no {data.path}" if session.mirror else f"no mirror was given for {data.path}"
        raise InputError(where, f"{recipe.name} is trained on these pictures", "give --mirror DIR, or --data DIR")
    return open_data(path, session.strict)


def open_test(path: Path, recipe: Recipe, strict: bool) -> Dataset:
    """Pictures to measure a recipe's network on.

    Raises:
        InputError: As for :func:`convert.data.open_data`.
    """
    assert isinstance(recipe.source, TrainedRecipe)
    return open_data(path, strict, recipe.source.labels)


def measure_on(source: SourceModel, datasets: dict[str, Dataset]) -> dict[str, float]:
    """AP50 and AP50-95 of a float network per data set, through the device's own steps."""
    detector = float_detector(source)
    figures: dict[str, float] = {}
    for name, dataset in datasets.items():
        measured = average_precision(predict(detector, dataset), dataset, source.labels.names)
        figures |= {f"{name} {key}": round(value, 2) for key, value in measured.items()}
    return figures


def _measured_during(recipe: Recipe, session: Session) -> dict[str, Dataset]:
    """What accuracy is measured on while training: the recipe's evaluation, when it is there."""
    wanted = recipe.evaluation
    if wanted is None:
        return {}
    dataset = open_recipe_data(wanted, recipe, session)
    return {"scenes" if isinstance(wanted, ScenesRecipe) else dataset.name: dataset}


def _start(recipe: Recipe, plan: TrainRecipe, session: Session) -> Path | None:
    """The weights a recipe starts from, brought here."""
    if isinstance(plan.start, RemoteFile):
        return fetch_file(plan.start, session.work / "sources", session.mirror, session.say)
    return recipe.folder / plan.start.path if plan.start else None


def tell(figures: dict[str, float], say: Say) -> dict[str, float]:
    """Says what was measured, and gives it back."""
    for name, value in figures.items():
        say(f"{name.replace('map50_95', 'AP50-95').replace('map50', 'AP50')} {value:.1f}")
    return figures


def _record(
    recipe: Recipe, provenance: list[str], session: Session, state: State, weights: Path, accuracy: dict[str, float]
) -> dict[str, Any]:
    plan, qat = recipe.train, recipe.qat
    assert plan is not None
    simulated = {"qat": dataclasses.asdict(qat), "simulated_int8_accuracy": accuracy} if qat else {}
    return {
        "name": recipe.name,
        "command": session.command,
        "seed": plan.seed,
        "steps": state.step,
        "batch": plan.batch,
        "minutes": round(state.seconds / 60, 1),
        "backend": keras.backend.backend(),
        "provenance": provenance,
        "test_images": len(session.test.truths) if session.test else 0,
        **(simulated or {"float_accuracy": accuracy}),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "tools": tool_versions(),
        "log": state.log,
    }


def _ingredient(data: FolderRecipe | ScenesRecipe, dataset: Dataset) -> str:
    objects = sum(len(truth.class_ids) for truth in dataset.truths)
    if isinstance(data, ScenesRecipe):
        return f"trained on {len(dataset.truths)} generated scenes ({data.scenes}, seed {data.seed}; {objects} objects)"
    licence = f", {data.licence}" if data.licence else ""
    return f"trained on {dataset.name} ({len(dataset.truths)} images, {objects} objects{licence})"


def with_changes(recipe: Recipe, steps: int | None, seed: int | None) -> Recipe:
    """The recipe with its stages shortened or lengthened to so many steps in all, and another seed."""
    plan = recipe.train
    assert plan is not None
    stages = plan.stages
    if steps is not None:
        ends = [round(sum(s.steps for s in stages[: i + 1]) * steps / plan.steps) for i in range(len(stages))]
        lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        stages = tuple(
            dataclasses.replace(s, steps=length) for s, length in zip(stages, lengths, strict=True) if length
        )
    plan = dataclasses.replace(plan, stages=stages, seed=plan.seed if seed is None else seed)
    return dataclasses.replace(recipe, train=plan)
