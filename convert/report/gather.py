"""From what a conversion measured to the contents of its report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from convert.data import Dataset
from convert.debug.explain import tensor_errors
from convert.debug.findings import calibration_findings, tensor_findings
from convert.debug.model import Explanation, TensorError
from convert.debug.network import Network
from convert.debug.pictures import Pictures
from convert.debug.statistics import Statistics
from convert.evaluate.agreement import MIN_SCORE, agreement
from convert.evaluate.bootstrap import Interval
from convert.evaluate.detection import Prediction
from convert.evaluate.measure import Comparison, Measured, compare, measure
from convert.quantize.calibration_check import CalibrationReport
from convert.quantize.ptq import Quantized
from convert.report.model import (
    Change,
    NetworkFigures,
    ReportData,
    SamplePair,
    TensorHistogram,
)
from convert.report.tables import worst_tensors
from runtime.card import ModelCard
from runtime.detections import Detections
from runtime.draw import annotate
from runtime.frame import Frame
from runtime.sources.images import read_image

Floats = npt.NDArray[np.float32]

_TENSOR_PICTURES = 16
_DIFFERENT, _ALIKE = 4, 2
_JPEG_SIDE, _JPEG_QUALITY = 480, 82
_HISTOGRAMS, _BINS = 4, 80


def file_facts(card: ModelCard, size: int) -> ReportData:
    """What a card tells: the beginning of every report.

    Args:
        card: The model's card.
        size: Bytes of its file, 0 where there is none.
    """
    delegation, made = card.delegation, card.quantization
    settings = {"accuracy": card.accuracy[0].settings} if card.accuracy else {}
    if made:
        settings["calibrated on"] = f"{made.calibration_images} images of {made.calibration}"
    spec = card.input
    settings["input"] = f"{spec.width}x{spec.height} {spec.color}, {spec.resize}"
    return ReportData(
        card.name,
        made.method if made else "",
        bytes=size,
        macs=card.macs or 0,
        delegated=delegation.delegated if delegation else 0,
        ops=delegation.total if delegation else 0,
        partitions=delegation.partitions if delegation else 0,
        settings=settings,
        tools=card.tools,
    )


def with_accuracy(
    report: ReportData,
    reference: Sequence[Prediction],
    predictions: Sequence[Prediction],
    data: Dataset,
    labels: tuple[str, ...],
) -> ReportData:
    """Adds figures, intervals and pictures.

    Args:
        report: What is known already.
        reference: What the float network finds in the pictures.
        predictions: What int8 finds.
        data: The pictures, annotated.
        labels: The model's class names.

    Raises:
        InputError: The data set and the model have no class in common.
    """
    theirs, mine = measure(reference, data, labels), measure(predictions, data, labels)
    return replace(
        report,
        data=data.name,
        images=len(data.truths),
        accuracy=(_figures("float", theirs), _figures("int8", mine)),
        changes=_changes(compare(mine, theirs)),
        samples=tuple(_samples(reference, predictions, data, labels)),
    )


def with_tensors(
    report: ReportData,
    quantized: Quantized,
    card: ModelCard,
    data: Dataset | None,
    samples: Floats,
) -> ReportData:
    """Adds what rounding does to each tensor.

    Args:
        report: What is known already.
        quantized: The network.
        card: Its card.
        data: Pictures to look at.
        samples: Inputs to look at where there are no such pictures.
    """
    inputs = samples[:_TENSOR_PICTURES]
    if data is not None:
        inputs = Pictures.read(data, card.labels.names, _TENSOR_PICTURES).samples(card.input)
    measured = Network(quantized, inputs).measure()
    agreed = next((each.value for each in report.changes if each.name.startswith("agreement")), 100.0)
    errors = tensor_errors(measured)
    findings = (*report.findings, *tensor_findings(errors, agreed))
    return _with_histograms(replace(report, findings=findings), errors, measured)


def with_calibration(report: ReportData, calibration: CalibrationReport | None) -> ReportData:
    """Adds what is known about the calibration pictures."""
    found = calibration_findings(calibration) if calibration else []
    return replace(report, calibration=calibration, findings=(*found, *report.findings))


def explained(
    report: ReportData,
    explanation: Explanation,
    measured: Sequence[Statistics],
    calibration: CalibrationReport | None,
) -> ReportData:
    """Adds an explanation, and what it was made of."""
    changed = replace(
        report,
        data=explanation.data,
        images=explanation.pictures,
        changes=(
            Change("agreement F1", explanation.agreement_f1),
            Change("signal to noise of the raw outputs, dB", explanation.head_sqnr),
        ),
        findings=explanation.findings,
        calibration=calibration,
    )
    return _with_histograms(changed, explanation.tensors, measured)


def _with_histograms(report: ReportData, errors: Sequence[TensorError], measured: Sequence[Statistics]) -> ReportData:
    order = {one.name: at for at, one in enumerate(measured)}
    worst = [one.name for one in worst_tensors(errors)[:_HISTOGRAMS]]
    return replace(
        report,
        tensors=tuple(sorted(errors, key=lambda one: order[one.name])),
        histograms=tuple(_histogram(measured[order[name]]) for name in worst),
    )


def _histogram(one: Statistics) -> TensorHistogram:
    low, high = min(float(one.low.min()), one.range[0]), max(float(one.high.max()), one.range[1])
    counts, _ = np.histogram(one.rows, _BINS, (low, max(high, low + 1e-6)))
    span = float(one.range[0]), float(one.range[1])
    return TensorHistogram(one.name, span, (low, high), tuple(map(int, counts)))


def _figures(name: str, measured: Measured) -> NetworkFigures:
    score = measured.score
    return NetworkFigures(name, score.map50, score.map75, score.map50_95)


def _changes(comparison: Comparison) -> tuple[Change, ...]:
    found = [
        _change(f"{name}, int8 minus float", each.points, each.interval)
        for name, each in (("AP50", comparison.map50), ("AP50-95", comparison.map50_95))
        if each.points is not None
    ]
    return *found, _change("agreement F1", comparison.agreement.f1, comparison.agreement_interval)


def _change(name: str, value: float, ends: Interval | None) -> Change:
    return Change(name, value, ends.low, ends.high) if ends else Change(name, value)


def _samples(
    reference: Sequence[Prediction], predictions: Sequence[Prediction], data: Dataset, labels: tuple[str, ...]
) -> list[SamplePair]:
    """Pictures in which the two differ most, then some full ones in which they agree."""
    counted = agreement(predictions, reference)
    differing = counted.found + counted.reference - 2 * counted.agreed
    order = sorted(range(len(differing)), key=lambda at: (-int(differing[at]), -int(counted.agreed[at])))
    chosen = [at for at in order if differing[at]][:_DIFFERENT]
    alike = sorted((at for at in order if not differing[at]), key=lambda at: -int(counted.agreed[at]))
    pairs = []
    for at in [*chosen, *alike[: _ALIKE + _DIFFERENT - len(chosen)]]:
        path, agreed = data.truths[at].path, int(counted.agreed[at])
        frame = read_image(path)
        pairs.append(
            SamplePair(
                path.name,
                agreed,
                int(counted.reference[at]) - agreed,
                int(counted.found[at]) - agreed,
                _drawn(frame, reference[at].found, labels),
                _drawn(frame, predictions[at].found, labels),
            )
        )
    return pairs


def _drawn(frame: Frame, found: Detections, labels: tuple[str, ...]) -> str:
    """A picture with its confident detections, about as large as it is shown, as a ``data:`` URI."""
    scale = _JPEG_SIDE / max(frame.width, frame.height)
    size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
    # Resized first: lines and letters stay readable, on thumbnails too.
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.asarray(cv2.resize(frame.pixels, size, interpolation=way), np.uint8)
    small = replace(frame, pixels=pixels)
    keep = found.scores >= MIN_SCORE
    boxes = (found.boxes[keep] * scale).astype(np.float32)
    canvas = annotate(small, Detections(boxes, found.scores[keep], found.class_ids[keep]), labels)
    done, data = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
