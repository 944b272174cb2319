"""``python -m convert train --qat``: trained weights, trained on with int8 rounding, to a model file."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras

from convert.build import calibration_folder, evaluation_data
from convert.candidate import Workbench
from convert.conversion import finish, new_card
from convert.data import Dataset
from convert.quantize.calibration import Calibration, check_calibration, load_calibration
from convert.quantize.heads import split_heads
from convert.quantize.ptq import Quantized
from convert.quantize.qat import finished, starting_point
from convert.quantize.ranges import input_range
from convert.recipe import Recipe, weights_file
from convert.result import Result
from convert.source import SourceModel
from convert.train.qat import Int8Trainee
from convert.train.recipe import QatRecipe
from convert.train.record import read_provenance
from convert.train.session import Session, measure_on, tell, train_network
from convert.trained import load_trained
from runtime.card import Quantization, SourceFile
from runtime.errors import InputError

SUFFIX = "-qat"


@dataclass(frozen=True)
class Trained:
    """A finished quantisation-aware training.

    Attributes:
        weights: File with folded weights and ranges; record and plot lie beside it.
        model: The model file; ``None`` for weights with one scale per tensor, which model files do not have.
    """

    weights: Path
    model: Result | None


def run_qat(recipe: Recipe, own: Dataset | None, session: Session, fresh: bool = False) -> Trained:
    """Trains the trained weights of a recipe on with rounding, and converts what comes of it.

    Args:
        recipe: From :func:`convert.train.qat.qat_recipe`.
        own: Somebody's own pictures; by default those the recipe names.
        session: Folders and options.
        fresh: Start over even when a checkpoint is there.

    Raises:
        BudgetError: The int8 network lost more than the recipe's budget allows; the model file was not written.
        InputError: Nobody trained the recipe yet, a checkpoint that does not fit, or pictures that cannot be used.
        RunError: Training or conversion failed.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND is {keras.backend.backend()}",
            "expected tensorflow, for ranges to start with and conversion",
        )
    qat = recipe.qat or QatRecipe()
    start = weights_file(recipe)
    source = load_trained(recipe)
    data = evaluation_data(recipe, session.work, session.mirror)
    folder = calibration_folder(recipe, session.work / "sources" / recipe.name, session.mirror, session.say)
    samples = load_calibration(folder, source.input)
    checked = check_calibration(samples, data, session.strict, session.say)
    session.say(f"choosing ranges to start with on {len(samples.samples)} calibration images")
    begin = _starting_point(source, samples, qat)
    if session.test is not None:
        session.say("in int8 before the training (simulated, weights rounded to nearest):")
        simulated = dataclasses.replace(source, model=begin.simulation())
        tell(measure_on(simulated, {session.test.name: session.test}), session.say)
    origin = (f"quantisation-aware training from {start.name} (sha256 {_digest(start)})", *source.source.provenance)
    trainee = make_trainee(begin, recipe)
    weights, trained = train_network(recipe, trainee, own, session, fresh, SUFFIX, origin)
    quantized = finished(trained.model, begin.exact, begin.plan, qat.weights == "per-tensor")
    if qat.weights == "per-tensor":
        return Trained(weights, None)
    quantization = Quantization(describe(recipe), samples.folder, len(samples.samples), samples.sha256)
    made_of = dataclasses.replace(
        source.source, files=(SourceFile(weights.name, _digest(weights)),), provenance=read_provenance(weights)
    )
    source = dataclasses.replace(source, source=made_of)
    target = weights.with_suffix(".tflite")
    split = split_heads(source)
    workbench = Workbench(split, new_card(source, split, quantization), samples.samples, data, session.say)
    result = finish(workbench.convert(quantized), target, data, recipe.budget, session.say)
    return Trained(weights, dataclasses.replace(result, calibration=checked))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _starting_point(source: SourceModel, samples: Calibration, qat: QatRecipe) -> Quantized:
    model = split_heads(source).model
    return starting_point(model, input_range(source.input), samples.samples, qat.equalise, qat.weights == "per-tensor")


def make_trainee(begin: Quantized, recipe: Recipe) -> Int8Trainee:
    """What the trainer trains.

    Args:
        begin: Where it starts.
        recipe: From :func:`convert.train.qat.qat_recipe`.
    """
    qat, plan = recipe.qat or QatRecipe(), recipe.train
    assert plan is not None
    return Int8Trainee(qat, begin.exact, begin.plan, begin.ranges, round(qat.freeze_after * plan.steps))


def describe(recipe: Recipe) -> str:
    """A line for the card."""
    qat, plan = recipe.qat or QatRecipe(), recipe.train
    assert plan is not None
    steps = [f"{plan.steps} steps", "channels equalised"] if qat.equalise else [f"{plan.steps} steps"]
    steps += ["moving-average ranges" if qat.freeze_after else "mse ranges"]
    return f"int8 quantisation-aware training (QAT): {', '.join(steps)}, {qat.weights} weights"
