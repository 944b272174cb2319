"""From a user's words to an explanation: opens what is asked for and calls the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from convert.cards import make_card
from convert.data import Dataset
from convert.debug.explain import explain
from convert.debug.file import File
from convert.debug.findings import calibration_findings
from convert.debug.model import Explanation, Finding
from convert.debug.network import Network
from convert.debug.pictures import Pictures, detections
from convert.debug.statistics import Statistics
from convert.evaluate.agreement import agreement_f1, renumbered
from convert.evaluate.detection import predict
from convert.evaluate.models import open_detector
from convert.progress import Progress
from convert.quantize.calibration import check_calibration, load_calibration
from convert.quantize.calibration_check import CalibrationReport, check_ranges
from convert.quantize.coverage import observed_coverage
from convert.quantize.heads import split_heads
from convert.quantize.ptq import DEFAULT, Options, quantise
from convert.quantize.ranges import input_range
from convert.quantize.relevance import relevance
from convert.source import SourceModel
from runtime.card import ModelCard
from runtime.opening import check_task, open_engine

Say = Callable[[str], None]

# A file whose float twin agrees less than this with the float network lost it in its weights.
_AGREES = 90.0


@dataclass(frozen=True, eq=False)
class Debugged:
    """An explanation with what it was made of, for a report.

    Attributes:
        explanation: What to tell.
        statistics: What was measured on each tensor.
        card: The network's card.
        calibration: What is known about its calibration pictures; ``None`` where they are not at hand.
    """

    explanation: Explanation
    statistics: Sequence[Statistics]
    card: ModelCard
    calibration: CalibrationReport | None


def debug_source(
    source: SourceModel, calibration: Path, folder: Path, data: Dataset, say: Say, options: Options = DEFAULT
) -> Debugged:
    """Quantises a float network in memory and explains what that does to it.

    Args:
        source: The network.
        calibration: Folder of pictures like those the device will see.
        folder: Where the pictures to explain it on are.
        data: These pictures; annotations help to judge the normalisation.
        say: Takes progress messages and warnings.
        options: How weights and ranges are chosen.

    Raises:
        InputError: Unusable calibration pictures.
    """
    split = split_heads(source)
    card = make_card(source, split.bindings)
    samples = load_calibration(calibration, source.input)
    # Ranges may well be explained on the very pictures they come from.
    same = calibration.resolve() == folder.resolve()
    report = check_calibration(samples, None if same else data, False, lambda _: None)
    say(f"quantising with {samples.count} (this takes a minute or two)")
    quantized = quantise(
        split.model,
        input_range(source.input),
        samples.samples,
        options,
        partial(relevance, source.decoder, split.bindings),
    )
    report = check_ranges(report, observed_coverage(quantized.seen))
    del samples
    pictures = Pictures.read(data, card.labels.names)
    say(f"explaining on {len(pictures.frames)} images of {data.name}")
    names = [binding.name for binding in split.bindings]
    network = Network(quantized, pictures.samples(source.input))
    explained, measured = explain(card, names, network, pictures, others=calibration_findings(report))
    return Debugged(explained, measured, card, report)


def debug_file(
    path: Path,
    reference: Path,
    data: Dataset,
    say: Say,
    labels: Path | None = None,
    weights: Path | None = None,
    calibration: Path | None = None,
) -> Debugged:
    """Explains an int8 file beside a float network.

    Args:
        path: The file; from anywhere, as long as its outputs can be decoded.
        reference: The float network: a ``.cfg``, a recipe, or a float ``.tflite``.
        data: Pictures to explain it on.
        say: Takes progress messages.
        labels: Class names, one per line.
        weights: Weights of the reference.
        calibration: The pictures it was calibrated on, to be checked.

    Raises:
        InputError: A file that is not int8, or no detector, or one that cannot be run in float.
    """
    card, engine = open_engine(path, None, labels)
    check_task(card, "detect")
    pictures = Pictures.read(data, card.labels.names)
    names = [spec.name for spec in engine.outputs]
    other = open_detector(reference, labels, weights, card)
    say(f"explaining on {len(pictures.frames)} images of {data.name}")
    theirs = renumbered(predict(other, pictures.data, Progress(reference.name)), other.labels, card.labels.names)
    file = File(path, names, pictures.samples(card.input))
    report = load_calibration(calibration, card.input).report if calibration else None
    found = calibration_findings(report) if report else []
    own = detections(card, names, file.float_heads, pictures.frames)
    found = [*_weights(agreement_f1(own, theirs)), *found]
    explained, measured = explain(card, names, file, pictures, theirs, found)
    return Debugged(explained, measured, card, report)


def _weights(agreement: float) -> list[Finding]:
    """Whether the file differs from its reference even in float."""
    if agreement >= _AGREES:
        return []
    return [
        Finding(
            "weights",
            f"with its own weights and nothing else rounded, the file agrees with its reference to {agreement:.1f} %",
            "expected the same network",
            "check that both were made from the same weights and are fed alike; then quantise weights per channel",
        )
    ]
