"""``python -m convert train --qat``: trained weights, trained on with int8 rounding, to a model file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from convert.build import calibration_folder, evaluation_data
from convert.conversion import emit, finish
from convert.data import Dataset
from convert.quantize.calibration import Calibration, load_calibration
from convert.quantize.heads import split_heads
from convert.quantize.ptq import Quantized
from convert.quantize.qat import finished, starting_point
from convert.quantize.ranges import input_range
from convert.recipe import Recipe, weights_file
from convert.result import Result
from convert.source import SourceModel
from convert.train.qat import Int8Trainee
from convert.train.recipe import QatRecipe
from convert.train.session import Session, train_network
from convert.trained import load_trained
from runtime.card import Quantization

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
        InputError: Nobody trained the recipe yet, a checkpoint that does not fit, or pictures that cannot be used.
        RunError: Training or conversion failed.
    """
    qat = recipe.qat or QatRecipe()
    start = weights_file(recipe)
    source = load_trained(recipe)
    folder = calibration_folder(recipe, session.work / "sources" / recipe.name, session.mirror, session.say)
    samples = load_calibration(folder, source.input)
    session.say(f"choosing ranges to start with on {len(samples.samples)} calibration images")
    begin = _starting_point(source, samples, qat)
    digest = hashlib.sha256(start.read_bytes()).hexdigest()
    origin = (f"quantisation-aware training from {start.name} (sha256 {digest})", *source.source.provenance)
    trainee = make_trainee(begin, recipe)
    weights, trained = train_network(recipe, trainee, own, session, fresh, SUFFIX, origin)
    quantized = finished(trained.model, begin.exact, begin.plan, qat.weights == "per-tensor")
    if qat.weights == "per-tensor":
        return Trained(weights, None)
    bare = emit(quantized, split_heads(source), source.input.name, samples)
    quantization = Quantization(describe(recipe), samples.folder, len(samples.samples), samples.sha256)
    data = evaluation_data(recipe, session.work, session.mirror)
    result = finish(bare, source, quantization, weights.with_suffix(".tflite"), data, session.say)
    return Trained(weights, result)


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
