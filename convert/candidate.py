"""A quantised network as a file, with what was measured on it."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.data import Dataset
from convert.evaluate.agreement import agreement_f1
from convert.evaluate.detection import MAX_DETECTIONS, SCORE_FLOOR, Prediction, average_precision, predict
from convert.evaluate.keras_executor import KerasExecutor
from convert.progress import Progress
from convert.quantize.cost import multiply_accumulates
from convert.quantize.heads import SplitModel
from convert.quantize.package import pack
from convert.quantize.ptq import Quantized
from convert.quantize.tflite import Precision, to_tflite
from runtime.card import Accuracy, Delegation, ModelCard
from runtime.detector import Detector
from runtime.engine import Engine
from runtime.opening import default_threads
from runtime.ops import list_ops

# Enough for the inner tensors of an activation; each picture is a slow pass through the converter's interpreter.
_GAP_PICTURES = 32

Say = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """A converted network.

    Attributes:
        bare: The ``.tflite`` without card.
        card: With delegation and, where there were pictures to measure on, accuracy; not rounded.
        predictions: What it found in these pictures.
    """

    bare: bytes
    card: ModelCard
    predictions: Sequence[Prediction] = ()


class Workbench:
    """Converts one network in several ways and measures each beside the float network.

    Args:
        split: The float network.
        card: Its card, before anything was measured.
        samples: Calibration inputs.
        data: Pictures to measure on, if there are any; without annotations only the agreement is measured.
        say: Takes progress messages.
    """

    def __init__(
        self, split: SplitModel, card: ModelCard, samples: npt.NDArray[np.float32], data: Dataset | None, say: Say
    ) -> None:
        self._split, self._card, self._samples, self._data, self._say = split, card, samples, data, say
        self._reference: Sequence[Prediction] = ()

    @property
    def reference(self) -> Sequence[Prediction]:
        """What the float network finds in the pictures."""
        if self._data is not None and not self._reference:
            self._say(f"evaluating on {len(self._data.truths)} images of {self._data.name}")
            executor = KerasExecutor(self._split, self._card.input)
            self._reference = predict(Detector(self._card, executor), self._data, Progress("float"))
        return self._reference

    @functools.cached_property
    def _reference_ap(self) -> tuple[float | None, float | None]:
        return _ap(self.reference, self._data, self._card) if self._data else (None, None)

    def convert(self, quantized: Quantized | None, precision: Precision = "int8") -> Candidate:
        """Converts and measures.

        Args:
            quantized: Weights and ranges; ``None`` leaves both to TensorFlow's converter.
            precision: What the numbers become; ``mixed`` where tensors of ``quantized`` stay float.

        Raises:
            RunError: The converter failed.
        """
        return self._measure(self.file(quantized, precision))

    def file(self, quantized: Quantized | None, precision: Precision = "int8") -> bytes:
        """Converts only; as :meth:`convert`, without card."""
        model, pictures = self._split.model, self._samples if precision in ("int8", "int16") else None
        if quantized is not None:
            model = quantized.simulation()
            pictures = self._samples[:_GAP_PICTURES] if quantized.plan.gaps else None
        split = SplitModel(model, self._split.bindings)
        return to_tflite(split, self._card.input.name, precision, pictures)

    def _measure(self, bare: bytes) -> Candidate:
        card = dataclasses.replace(self._card, macs=multiply_accumulates(bare))
        with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(pack(bare, card))
            engine = Engine(path, default_threads())
            ops = list_ops(engine)
            card = dataclasses.replace(card, delegation=Delegation(ops.delegated, len(ops.ops), ops.partitions))
            if self._data is None:
                return Candidate(bare, card)
            float_ap = self._reference_ap
            predictions = predict(Detector(card, engine), self._data, Progress("int8"))
        accuracy = Accuracy(
            self._data.name,
            len(self._data.truths),
            *float_ap,
            *_ap(predictions, self._data, card),
            # Not rounded: a budget is decided on these.
            agreement_f1(predictions, self.reference),
            settings_text(card),
        )
        return Candidate(bare, dataclasses.replace(card, accuracy=(accuracy,)), predictions)


def _ap(predictions: Sequence[Prediction], data: Dataset, card: ModelCard) -> tuple[float | None, float | None]:
    if not data.annotated:
        return None, None
    figures = average_precision(predictions, data, card.labels.names)
    return figures["map50"], figures["map50_95"]


def settings_text(card: ModelCard) -> str:
    """How an accuracy figure was measured."""
    limits = f"score floor {SCORE_FLOOR:g}, class-wise NMS {card.thresholds.iou:g}, {MAX_DETECTIONS} boxes"
    return f"pycocotools, {limits}, {card.input.resize}"
