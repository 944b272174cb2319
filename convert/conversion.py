"""From an imported network to a finished, measured model file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from convert.budget import check_budget, holds, require_detections, stored
from convert.candidate import Candidate, Workbench
from convert.cards import make_card, tool_versions
from convert.data import Dataset, uncounted
from convert.quantize.apart import prepare
from convert.quantize.calibration import check_calibration, load_calibration
from convert.quantize.calibration_check import CalibrationReport, check_ranges
from convert.quantize.coverage import observed_coverage
from convert.quantize.heads import SplitModel, split_heads
from convert.quantize.package import pack
from convert.quantize.ptq import DEFAULT, Options, Quantized, quantise
from convert.quantize.ranges import input_range
from convert.quantize.relevance import relevance
from convert.quantize.tflite import Precision
from convert.recipe import Budget
from convert.repair import Step, best_step, repair, table
from convert.report.conversion import report_conversion
from convert.result import Result
from convert.source import SourceModel
from runtime.card import ModelCard, Quantization
from runtime.detector import Detector
from runtime.files import check_writable, replacing

Say = Callable[[str], None]

# What the converter itself does, for the card.
_OTHERS: dict[Precision, str] = {
    "int16": "int8 weights, int16 activations, min-max ranges",
    "float16": "float16 weights",
    "dynamic": "int8 weights, activations quantised as they come",
    "float32": "none",
}


def convert(
    source: SourceModel,
    calibration: Path,
    target: Path,
    data: Dataset | None,
    say: Say,
    build: str = "",
    *,
    budget: Budget | None = None,
    strict: bool = False,
    options: Options = DEFAULT,
    precision: Precision = "int8",
    report: Path | None = None,
) -> Result:
    """Splits the heads, quantises, measures and writes a model file.

    Args:
        source: The float network.
        calibration: Folder of pictures like those the device will see.
        target: The ``.tflite`` to write; an older one stays until the new one is complete.
        data: Pictures to measure float and int8 on; without annotations only their agreement is.
        say: Takes progress messages.
        build: Key that identifies this build in the card.
        budget: What may be lost on ``data``; without data it is not checked, which is said. Where int8 misses it and it
            allows the file to be slower, tensors stay float until it holds.
        strict: Refuse calibration pictures that are also in ``data``.
        options: How weights and ranges are chosen for int8.
        precision: What the numbers become.
        report: Folder for a report; it is written even when the budget is missed.

    Raises:
        BudgetError: The file lost more than the budget allows; no model file was written.
        InputError: Unusable calibration pictures or target, or ``data`` without any class of the network's.
        RunError: The converter failed.
    """
    check_writable(target)
    if data is not None and (text := uncounted(data, source.labels.names)):
        say(text)
    samples = load_calibration(calibration, source.input)
    checked = check_calibration(samples, data, strict, say)
    prepare()
    split = split_heads(source)
    method = _OTHERS.get(precision) or options.describe()
    quantization = Quantization(method, samples.folder, len(samples.samples), samples.sha256)
    card = new_card(source, split, quantization, build)
    workbench = Workbench(split, card, samples.samples, data, say)
    if budget and budget.min_agreement is not None and data:
        require_detections(workbench.reference, data)
    steps: tuple[Step, ...] = ()
    quantized = None
    if precision == "int8":
        say(f"quantising with {samples.count} (this takes a minute or two)")
        where = partial(relevance, source.decoder, split.bindings)
        quantized = quantise(split.model, input_range(source.input), samples.samples, options, where)
        checked = _check_ranges(checked, quantized, say)
        candidate = workbench.convert(quantized)
        if budget and data and budget.max_slowdown and not holds(candidate.card.accuracy, budget):
            steps = repair(quantized, samples.samples, candidate, workbench, budget, say)
            say("what it takes to meet the budget:\n" + table(steps))
            if best := best_step(steps, budget):
                candidate, quantized = _named(best), best.quantized
    else:
        candidate = workbench.convert(None, precision)
    if report:
        written = report_conversion(report, candidate, workbench, quantized, samples.samples, data, checked, steps)
        say(f"report in {written}")
    del samples
    return dataclasses.replace(finish(candidate, target, data, budget, say), calibration=checked)


def new_card(source: SourceModel, split: SplitModel, quantization: Quantization, build: str = "") -> ModelCard:
    """The card of a network before anything was measured."""
    card = make_card(source, split.bindings)
    return dataclasses.replace(card, quantization=quantization, build=build, tools=tool_versions())


def finish(candidate: Candidate, target: Path, data: Dataset | None, budget: Budget | None, say: Say) -> Result:
    """Holds a converted network to its budget and writes the model file.

    Args:
        candidate: The network, measured.
        target: The ``.tflite`` to write; an older one stays until the new one is complete.
        data: What it was measured on, if anything.
        budget: What may be lost; without data it is not checked, which is said.
        say: Takes progress messages.

    Raises:
        BudgetError: It lost more than the budget allows; nothing was written.
        RunError: The file could not be written.
    """
    if budget and data is None:
        say("budget not checked: no annotated images")
    check_budget(candidate.card.accuracy, budget)
    card = dataclasses.replace(candidate.card, accuracy=stored(candidate.card.accuracy))
    packed = pack(candidate.bare, card)
    with replacing(target) as scratch:
        scratch.write_bytes(packed)
        Detector.open(scratch, threads=1).close()
    return Result(target, len(packed), card)


def _named(step: Step) -> Candidate:
    """A repaired file whose card says what is float in it."""
    card = step.candidate.card
    assert card.quantization is not None
    method = f"{card.quantization.method}; in float: {', '.join(step.left)}"
    quantization = dataclasses.replace(card.quantization, method=method)
    return dataclasses.replace(step.candidate, card=dataclasses.replace(card, quantization=quantization))


def _check_ranges(report: CalibrationReport, quantized: Quantized, say: Say) -> CalibrationReport:
    """Adds to a calibration's report whether the ranges had settled."""
    checked = check_ranges(report, observed_coverage(quantized.seen))
    for finding in checked.warnings[len(report.warnings) :]:
        say(str(finding))
    return checked
