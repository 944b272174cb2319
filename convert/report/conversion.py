"""Reports of whole commands: what they have at hand, put together and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.accuracy_text import drop
from convert.budget import stored
from convert.candidate import Candidate, Workbench
from convert.cards import tool_versions
from convert.data import Dataset
from convert.debug.run import Debugged
from convert.quantize.calibration_check import CalibrationReport
from convert.quantize.package import pack
from convert.quantize.ptq import Quantized
from convert.repair import Step
from convert.report.gather import explained, file_facts, with_accuracy, with_calibration, with_tensors
from convert.report.model import RepairStep
from convert.report.write import write_report


def report_conversion(
    folder: Path,
    candidate: Candidate,
    workbench: Workbench,
    quantized: Quantized | None,
    samples: npt.NDArray[np.float32],
    data: Dataset | None,
    calibration: CalibrationReport,
    steps: Sequence[Step],
) -> Path:
    """Reports a conversion.

    Args:
        folder: Where to.
        candidate: The file that was made.
        workbench: Where it was made, with what the float network finds.
        quantized: Its tensors; ``None`` where TensorFlow's converter chose their ranges.
        samples: Calibration inputs.
        data: Annotated pictures, if there are any.
        calibration: What is known about the calibration pictures.
        steps: What was tried to meet a budget.

    Returns:
        The page.
    """
    card = dataclasses.replace(candidate.card, accuracy=stored(candidate.card.accuracy))
    report = file_facts(card, len(pack(candidate.bare, card)))
    if data is not None:
        report = with_accuracy(report, workbench.reference, candidate.predictions, data, card.labels.names)
    if quantized is not None:
        report = with_tensors(report, quantized, card, data, samples)
    report = dataclasses.replace(with_calibration(report, calibration), repair=tuple(map(_repair_step, steps)))
    return write_report(folder, report)


def report_explanation(folder: Path, done: Debugged, file: Path | None) -> Path:
    """Reports an explanation.

    Args:
        folder: Where to.
        done: What was explained.
        file: The file, where it was one.

    Returns:
        The page.
    """
    card = dataclasses.replace(done.card, tools=done.card.tools or tool_versions())
    report = file_facts(card, file.stat().st_size if file else 0)
    return write_report(folder, explained(report, done.explanation, done.statistics, done.calibration))


def _repair_step(step: Step) -> RepairStep:
    row = step.candidate.card.accuracy[0]
    return RepairStep(step.name, row.int8_map50, drop(row), row.agreement_f1, len(step.candidate.bare), step.ms)
