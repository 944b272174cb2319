"""From an imported network to a finished, measured model file."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from convert.budget import check_budget, stored
from convert.cards import make_card, tool_versions
from convert.data import Dataset
from convert.evaluate.agreement import agreement_f1
from convert.evaluate.detection import Prediction, average_precision, predict
from convert.evaluate.keras_executor import KerasExecutor
from convert.progress import Progress
from convert.quantize.calibration import Calibration, check_calibration, load_calibration
from convert.quantize.calibration_check import CalibrationReport, check_ranges
from convert.quantize.cost import multiply_accumulates
from convert.quantize.coverage import coverage
from convert.quantize.heads import SplitModel, split_heads
from convert.quantize.package import pack
from convert.quantize.ptq import DEFAULT, Options, Quantized, quantise
from convert.quantize.ranges import input_range
from convert.quantize.tflite import to_tflite
from convert.recipe import Budget
from convert.result import Result
from convert.source import SourceModel
from runtime.card import Accuracy, Delegation, ModelCard, Quantization
from runtime.detector import Detector
from runtime.engine import Engine
from runtime.files import check_writable, replacing
from runtime.opening import default_threads
from runtime.ops import list_ops

# Enough for the inner tensors of an activation; each picture is a slow pass through the converter's interpreter.
_GAP_PICTURES = 32

Say = Callable[[str], None]


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
) -> Result:
    """Splits the heads, quantises, measures and writes a model file.

    Args:
        source: The float network.
        calibration: Folder of pictures like those the device will see.
        target: The ``.tflite`` to write; an older one stays until the new one is complete.
        data: Annotated pictures to measure float and int8 on.
        say: Takes progress messages.
        build: Key that identifies this build in the card.
        budget: What may be lost on ``data``; without data it is not checked, which is said.
        strict: Refuse calibration pictures that are also in ``data``.
        options: How weights and ranges are chosen.

    Raises:
        BudgetError: The int8 network lost more than the budget allows; nothing was written.
        InputError: Unusable calibration pictures or target.
        RunError: The converter failed.
    """
    check_writable(target)
    samples = load_calibration(calibration, source.input)
    checked = check_calibration(samples, data, strict, say)
    reference = split_heads(source)
    say(f"quantising with {len(samples.samples)} calibration images (this takes a minute or two)")
    quantized = quantise(reference.model, input_range(source.input), samples.samples, options)
    checked = _check_ranges(checked, quantized, say)
    bare = emit(quantized, reference, source.input.name, samples)
    quantization = Quantization(options.describe(), samples.folder, len(samples.samples), samples.sha256)
    del samples
    result = finish(bare, source, quantization, target, data, say, build, budget)
    return dataclasses.replace(result, calibration=checked)


def finish(
    bare: bytes,
    source: SourceModel,
    quantization: Quantization,
    target: Path,
    data: Dataset | None,
    say: Say,
    build: str = "",
    budget: Budget | None = None,
) -> Result:
    """Measures an int8 network and writes the model file.

    Args:
        bare: What :func:`emit` returned.
        source: The float network it is measured beside.
        quantization: How it was made, for the card.
        target: The ``.tflite`` to write; an older one stays until the new one is complete.
        data: Annotated pictures to measure float and int8 on.
        say: Takes progress messages.
        build: Key that identifies this build in the card.
        budget: What may be lost on ``data``; without data it is not checked, which is said.

    Raises:
        BudgetError: The int8 network lost more than the budget allows; nothing was written.
        RunError: The file could not be written.
    """
    reference = split_heads(source)
    card = dataclasses.replace(
        make_card(source, reference.bindings),
        quantization=quantization,
        macs=multiply_accumulates(bare),
        build=build,
        tools=tool_versions(),
    )
    card = _measure(bare, card, reference, data, say)
    if budget and data is None:
        say("budget not checked: no annotated images")
    check_budget(card.accuracy, budget)
    card = dataclasses.replace(card, accuracy=stored(card.accuracy))
    packed = pack(bare, card)
    with replacing(target) as scratch:
        scratch.write_bytes(packed)
        Detector.open(scratch, threads=1).close()
    return Result(target, len(packed), card)


def emit(quantized: Quantized, split: SplitModel, name: str, samples: Calibration) -> bytes:
    """The int8 ``.tflite`` of a quantised network.

    Args:
        quantized: The network.
        split: What it was made of, for the names of its outputs.
        name: Name the input tensor gets.
        samples: Calibration inputs, for layers whose inner tensors have no range of their own.

    Raises:
        RunError: The converter failed.
    """
    pictures = samples.samples[:_GAP_PICTURES] if quantized.plan.gaps else None
    return to_tflite(SplitModel(quantized.simulation(), split.bindings), name, samples=pictures)


def _check_ranges(report: CalibrationReport, quantized: Quantized, say: Say) -> CalibrationReport:
    """Adds to a calibration's report whether the ranges had settled."""
    low = np.stack([seen.low.min(axis=1) for seen in quantized.seen.values()])
    high = np.stack([seen.high.max(axis=1) for seen in quantized.seen.values()])
    checked = check_ranges(report, coverage(list(quantized.seen), low, high))
    for finding in checked.warnings[len(report.warnings) :]:
        say(str(finding))
    return checked


def _measure(bare: bytes, card: ModelCard, float_net: SplitModel, data: Dataset | None, say: Say) -> ModelCard:
    """Adds delegation and accuracy, measured on a scratch copy of the file, beside the network as it was imported."""
    with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(pack(bare, card))
        engine = Engine(path, default_threads())
        ops = list_ops(engine)
        card = dataclasses.replace(card, delegation=Delegation(ops.delegated, len(ops.ops), ops.partitions))
        if data is None:
            return card
        say(f"evaluating float and int8 on {len(data.truths)} images of {data.name}")
        reference = predict(Detector(card, KerasExecutor(float_net, card.input)), data, Progress("float"))
        predictions = predict(Detector(card, engine), data, Progress("int8"))
    return dataclasses.replace(card, accuracy=(_accuracy(reference, predictions, data, card),))


def _accuracy(reference: list[Prediction], predictions: list[Prediction], data: Dataset, card: ModelCard) -> Accuracy:
    float_ap = average_precision(reference, data, card.labels.names)
    int8_ap = average_precision(predictions, data, card.labels.names)
    # Not rounded: a budget is decided on these.
    return Accuracy(
        dataset=data.name,
        images=len(data.truths),
        float_map50=float_ap["map50"],
        float_map50_95=float_ap["map50_95"],
        int8_map50=int8_ap["map50"],
        int8_map50_95=int8_ap["map50_95"],
        agreement_f1=agreement_f1(predictions, reference),
        settings=settings_text(card),
    )


def settings_text(card: ModelCard) -> str:
    """How an accuracy figure was measured."""
    return f"pycocotools, score floor 0.001, class-wise NMS {card.thresholds.iou:g}, 100 boxes, {card.input.resize}"
