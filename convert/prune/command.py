"""What ``python -m convert prune`` does, source by source."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from convert.build import calibration_folder
from convert.cards import tool_versions
from convert.conversion import convert
from convert.data import open_pictures
from convert.importers import keras_file, load_source
from convert.prune.graph import unpacked
from convert.prune.plan import PrunePlan
from convert.prune.run import Pruned, Workplace, prune_by_pictures, prune_detector, prune_model
from convert.prune.schedule import Outcome
from convert.prune.sources import prune_by_recipe
from convert.prune.sparsity import sparsify
from convert.prune.tune import LeaveAlone
from convert.quantize.calibration import load_calibration
from convert.quantize.ptq import DEFAULT
from convert.recipe import Recipe, TrainedRecipe, load_recipe, weights_file
from convert.result import Result
from convert.source import SourceModel
from convert.stopwatch import DeviceStopwatch, LocalStopwatch, Stopwatch
from convert.train.record import write_record
from convert.train.weights import save_weights
from convert.trained import load_whole
from runtime.errors import InputError
from runtime.schema import encode

Say = Callable[[str], None]


@dataclass(frozen=True)
class Done:
    """A finished command.

    Attributes:
        name: Of the network.
        outcome: How it was pruned; ``None`` where weights became zeros.
        result: The model file, where one was asked for.
    """

    name: str
    outcome: Outcome | None
    result: Result | None


def prune_file(path: Path, plan: PrunePlan, arguments: argparse.Namespace, say: Say) -> Done:
    """Prunes a network from a file.

    Raises:
        BudgetError: The target cannot be met.
        InputError: The file, a picture or a target is not what it should be.
        RunError: Training or conversion failed.
    """
    if path.suffix.lower() != ".cfg" and not keras_file.is_detector(path):
        return _prune_plain(path, plan, arguments, say)
    source = load_source(path, arguments.weights, arguments.labels, arguments.input_size)
    if arguments.resize:
        source = dataclasses.replace(source, input=dataclasses.replace(source.input, resize=arguments.resize))
    if arguments.output.suffix == ".tflite" and not arguments.data:
        raise InputError(f"{arguments.output} without --data", "int8 ranges come from pictures", "add --data DIR")
    if arguments.sparsity:
        return _sparse(source, arguments.data, plan, arguments, say)
    place = workplace(source.name, arguments, say)
    if arguments.data is None:
        pruned = prune_detector(source, plan, LeaveAlone(), None, None, place)
    else:
        samples = load_calibration(arguments.data, source.input).samples
        pruned = prune_by_pictures(source, plan, arguments.data, samples, place, arguments.more)
    return write(pruned, arguments.data, arguments, place)


def prune_recipe(name: str, plan: PrunePlan, arguments: argparse.Namespace, say: Say) -> Done:
    """Prunes a network that a recipe trains, and trains what is left on the recipe's pictures.

    Raises:
        As for :func:`prune_file`.
    """
    recipe = load_recipe(name)
    if not isinstance(recipe.source, TrainedRecipe):
        raise InputError(f"{name} is {recipe.source.format}", "expected a recipe that is trained here, or a .cfg")
    source = load_whole(recipe)
    work = Path("build")
    folder = arguments.data or calibration_folder(recipe, work / "sources" / recipe.name, arguments.mirror, say)
    if arguments.sparsity:
        return _sparse(source, folder, plan, arguments, say)
    place = workplace(recipe.name, arguments, say)
    pruned = prune_by_recipe(recipe, source, plan, folder, place, work, arguments.mirror, arguments.strict)
    if arguments.output.suffix == ".npz":
        _write_weights(arguments.output, recipe, pruned, plan)
        return Done(recipe.name, pruned.outcome, None)
    return write(pruned, folder, arguments, place)


def _write_weights(path: Path, recipe: Recipe, pruned: Pruned, plan: PrunePlan) -> None:
    """Weights for a recipe's ``[prune]`` section, with a record of how they came about beside them."""
    save_weights(path, pruned.source.model)
    whole = weights_file(dataclasses.replace(recipe, prune=None))
    record = {
        "name": recipe.name,
        "command": shlex.join(["python", "-m", "convert", *sys.argv[1:]]),
        "plan": dataclasses.asdict(plan),
        "provenance": [*pruned.source.source.provenance, f"pruned from {whole.name} ({plan.rank}, {plan.target})"],
        "whole_sha256": hashlib.sha256(whole.read_bytes()).hexdigest(),
        "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "tools": tool_versions(),
        "rounds": [encode(point) for point in pruned.outcome.points],
        "channels": {name: [was, now] for name, was, now in pruned.outcome.parts.table(pruned.outcome.keep)},
    }
    write_record(path, record)


def _prune_plain(path: Path, plan: PrunePlan, arguments: argparse.Namespace, say: Say) -> Done:
    """A network of which nothing but its graph is known."""
    for flag, value in (("--data", arguments.data), ("--test", arguments.test), ("--device", arguments.device)):
        if value:
            raise InputError(
                f"{flag} with {path}",
                "how pictures are fed to this network is not known: nothing can be measured or trained",
                f"leave out {flag}; rank with l1, l2 or random",
            )
    if arguments.output.suffix != ".keras":
        raise InputError(f"{arguments.output} from {path}", "expected -o OUT.keras: its heads are not known")
    model = keras_file.load_model(path)
    if arguments.sparsity:
        model, outcome = sparsify(unpacked(model), arguments.sparsity, arguments.ratio, plan.scope), None
    else:
        model, outcome = prune_model(model, plan, workplace(path.stem, arguments, say))
    keras_file.save(arguments.output, model)
    return Done(path.stem, outcome, None)


def workplace(name: str, arguments: argparse.Namespace, say: Say) -> Workplace:
    """Folder, pictures and stopwatch of a command line."""
    test = open_pictures(arguments.test, arguments.strict) if arguments.test else None
    if arguments.max_drop is not None and test is not None and not test.annotated:
        raise InputError(f"{arguments.test} has no annotations", "expected some: --max-drop is in points of AP50")
    folder = arguments.work or Path("build/prune") / name
    return Workplace(
        folder, arguments.fresh, test, arguments.max_drop, stopwatch(arguments.device, arguments.ssh_config), say
    )


def stopwatch(board: str | None, ssh_config: Path | None) -> Stopwatch:
    """This machine's, or a board's.

    Raises:
        InputError: The board cannot be reached, or cannot run models.
    """
    return DeviceStopwatch(board, ssh_config=ssh_config) if board else LocalStopwatch()


def _sparse(source: SourceModel, folder: Path, plan: PrunePlan, arguments: argparse.Namespace, say: Say) -> Done:
    """Zeros instead of removed channels."""
    model: keras.Model = sparsify(source.model, arguments.sparsity, arguments.ratio, plan.scope)
    source = dataclasses.replace(source, model=model)
    if arguments.output.suffix == ".keras":
        keras_file.save(arguments.output, model, source)
        return Done(source.name, None, None)
    test = open_pictures(arguments.test, arguments.strict) if arguments.test else None
    options = dataclasses.replace(DEFAULT, keep_zeros=True)
    return Done(source.name, None, convert(source, folder, arguments.output, test, say, options=options))


def write(pruned: Pruned, folder: Path, arguments: argparse.Namespace, place: Workplace) -> Done:
    """Writes what was asked for."""
    if arguments.output.suffix == ".keras":
        keras_file.save(arguments.output, pruned.source.model, pruned.source)
        return Done(pruned.source.name, pruned.outcome, None)
    result = convert(pruned.source, folder, arguments.output, place.test, place.say)
    return Done(pruned.source.name, pruned.outcome, result)
