"""YOLO decoding against the paper's equations, one anchor at a time, in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.card import DecoderSpec, HeadSpec, InputSpec, Labels, ModelCard, OutputBinding
from runtime.decode import make_decoder
from runtime.decode.candidates import Candidates
from runtime.detector import Detector
from runtime.engine import TensorSpec
from runtime.errors import InputError
from runtime.preprocess import place
from tests.runtime.test_card import make_card

HEADS = (HeadSpec(32, ((115.0, 73.0), (119.0, 199.0)), 1.05), HeadSpec(16, ((12.0, 18.0), (37.0, 49.0)), 1.0))
CLASSES = 3
SIZES = {"box": 4, "objectness": 1, "class": CLASSES}
FORMATS: dict[str, tuple[Any, dict[str, tuple[float, int]]]] = {
    "float32": (np.float32, dict.fromkeys(SIZES, (0.0, 0))),
    "int8": (np.int8, {"box": (0.02, -5), "objectness": (0.11, 60), "class": (0.17, 70)}),
    "uint8": (np.uint8, {"box": (0.02, 120), "objectness": (0.11, 200), "class": (0.17, 190)}),
    "int16": (np.int16, {"box": (0.0004, 0), "objectness": (0.0005, 0), "class": (0.0005, 0)}),
}


class Outputs:
    """An executor that only has outputs."""

    inputs: tuple[TensorSpec, ...] = ()

    def __init__(self, specs: list[TensorSpec], arrays: list[np.ndarray]) -> None:
        self.outputs = tuple(specs)
        self._arrays = arrays

    def input_view(self, index: int = 0) -> np.ndarray:
        raise NotImplementedError

    def invoke(self) -> None:
        raise NotImplementedError

    def output_view(self, index: int) -> np.ndarray:
        return self._arrays[index]


class WithInput(Outputs):
    """One that takes pictures besides."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", (1, 96, 64, 3), np.dtype(np.float32)),)

    def __init__(self, outputs: Outputs) -> None:
        super().__init__(list(outputs.outputs), outputs._arrays)


def yolo_card() -> ModelCard:
    return make_card(
        input=InputSpec("image", 64, 96),
        outputs=tuple(
            OutputBinding(f"{kind}_{head.stride}", kind, index)  # type: ignore[arg-type]
            for index, head in enumerate(HEADS)
            for kind in SIZES
        ),
        decoder=DecoderSpec("yolo", HEADS),
        labels=Labels(("a", "b", "c")),
    )


def make_outputs(name: str, seed: int) -> Outputs:
    """Random stored numbers with a few confident anchors."""
    random = np.random.default_rng(seed)
    dtype, scales = FORMATS[name]
    specs, arrays = [], []
    for head in HEADS:
        for kind, size in SIZES.items():
            shape = (1, 96 // head.stride, 64 // head.stride, len(head.anchors) * size)
            scale, zero = scales[kind]
            real = random.normal(0 if kind == "box" else -3, 1 if kind == "box" else 4, shape)
            if scale:
                limits = np.iinfo(dtype)
                stored = np.clip(np.round(real / scale) + zero, limits.min, limits.max).astype(dtype)
            else:
                stored = real.astype(dtype)
            specs.append(TensorSpec(f"{kind}_{head.stride}", shape, np.dtype(dtype), scale, zero))
            arrays.append(stored)
    order = random.permutation(len(specs))
    return Outputs([specs[i] for i in order], [arrays[i] for i in order])


def by_the_paper(outputs: Outputs, score: float) -> list[tuple[float, int, tuple[float, ...]]]:
    """Every class of every anchor that reaches the score: (score, class, corners in input pixels)."""
    tensors = {}
    for index, spec in enumerate(outputs.outputs):
        stored = outputs.output_view(index).astype(np.float64)
        tensors[spec.name] = (stored - spec.zero_point) * spec.scale if spec.scale else stored

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    found = []
    for head in HEADS:
        box, objectness, class_ = (tensors[f"{kind}_{head.stride}"][0] for kind in SIZES)
        for row, column, anchor in np.ndindex(box.shape[0], box.shape[1], len(head.anchors)):
            tx, ty, tw, th = box[row, column, 4 * anchor : 4 * anchor + 4]
            a = head.scale_xy
            x = (a * sigmoid(tx) - (a - 1) / 2 + column) * head.stride
            y = (a * sigmoid(ty) - (a - 1) / 2 + row) * head.stride
            w, h = head.anchors[anchor][0] * math.exp(tw), head.anchors[anchor][1] * math.exp(th)
            for k in range(CLASSES):
                logit = class_[row, column, CLASSES * anchor + k]
                value = sigmoid(objectness[row, column, anchor]) * sigmoid(logit)
                if value >= score:
                    found.append((value, k, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
    return sorted(found)


def as_rows(candidates: Candidates) -> list[tuple[float, int, tuple[float, ...]]]:
    rows = zip(candidates.scores.tolist(), candidates.class_ids.tolist(), candidates.boxes.tolist(), strict=True)
    return sorted((score, class_id, tuple(box)) for score, class_id, box in rows)


@settings(max_examples=60)
@given(st.sampled_from(sorted(FORMATS)), st.integers(0, 2**32), st.sampled_from([0.001, 0.1, 0.25, 0.5, 0.9]))
def test_equals_the_paper(name: str, seed: int, score: float) -> None:
    outputs = make_outputs(name, seed)
    expected = by_the_paper(outputs, score)
    decoder = make_decoder(yolo_card(), outputs)
    rows = as_rows(decoder.decode(outputs, score))
    # A score within float32 rounding of the threshold may fall on either side.
    firm = [row for row in expected if abs(row[0] - score) > 1e-6]
    assert len(firm) <= len(rows) <= len(expected)
    rows = [row for row in rows if abs(row[0] - score) > 1e-6]
    assert [row[1] for row in rows] == [row[1] for row in firm]
    np.testing.assert_allclose([row[0] for row in rows], [row[0] for row in firm], rtol=1e-4)
    for mine, theirs in zip(rows, firm, strict=True):
        np.testing.assert_allclose(mine[2], theirs[2], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("soft", [False, True])
def test_a_box_of_no_numbers_takes_no_other_along(soft: bool) -> None:
    """All others are found as if the damaged one were not there."""
    outputs = make_outputs("float32", 3)
    card = yolo_card()
    detector = Detector(card, WithInput(outputs), score=0.2)
    detector.soft_nms = soft
    before = detector._finish(outputs, place(card.input, 64, 96))
    boxes, objectness, classes = (
        next(outputs.output_view(i) for i, spec in enumerate(outputs.outputs) if spec.name == f"{kind}_32")
        for kind in SIZES
    )
    # An anchor that had nothing becomes the best of all.
    at = np.unravel_index(int(objectness.argmin()), objectness.shape)[1:]
    boxes[0, at[0], at[1], 4 * at[2] : 4 * at[2] + 4] = np.nan
    objectness[0, at[0], at[1], at[2]] = classes[0, at[0], at[1], CLASSES * at[2]] = 80
    classes[0, at[0], at[1], CLASSES * at[2] + 1 : CLASSES * at[2] + CLASSES] = -80
    after = detector._finish(outputs, place(card.input, 64, 96))
    assert len(after) == len(before) + 1 > 3
    assert after.scores[0] == 1
    np.testing.assert_array_equal(after.boxes[1:], before.boxes)
    np.testing.assert_array_equal(after.scores[1:], before.scores)
    assert np.isfinite(after.boxes).all()


@pytest.mark.parametrize("name", FORMATS)
def test_threshold_can_change_between_frames(name: str) -> None:
    outputs = make_outputs(name, 5)
    decoder = make_decoder(yolo_card(), outputs)
    many = len(decoder.decode(outputs, 0.05).scores)
    few = len(decoder.decode(outputs, 0.5).scores)
    assert many > few > 0
    assert len(decoder.decode(outputs, 0.05).scores) == many


@pytest.mark.parametrize("name", FORMATS)
def test_unreachable_score_gives_nothing(name: str) -> None:
    outputs = make_outputs(name, 5)
    candidates = make_decoder(yolo_card(), outputs).decode(outputs, 1.0)
    assert candidates.boxes.shape == (0, 4)
    assert len(candidates.scores) == len(candidates.class_ids) == 0


def test_extreme_logits_stay_finite() -> None:
    outputs = make_outputs("float32", 1)
    for index in range(len(outputs.outputs)):
        outputs.output_view(index)[:] = 1e4
    candidates = make_decoder(yolo_card(), outputs).decode(outputs, 0.5)
    assert len(candidates.scores) == (6 + 24) * 2 * CLASSES
    assert np.isfinite(candidates.boxes).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda specs: specs[:-1], "one '"),
        (lambda specs: [*specs[1:], TensorSpec("other", specs[0].shape, specs[0].dtype)], "one '"),
        (lambda specs: [TensorSpec(s.name, (1, 1, 1, 1), s.dtype) for s in specs], "of shape"),
    ],
)
def test_tensors_that_do_not_fit_the_card(change: Any, message: str) -> None:
    outputs = make_outputs("int8", 0)
    outputs.outputs = tuple(change(list(outputs.outputs)))
    with pytest.raises(InputError, match=message):
        make_decoder(yolo_card(), outputs)


def test_unknown_decoder() -> None:
    card = make_card(decoder=DecoderSpec("telepathy", HEADS))
    with pytest.raises(InputError, match="asks for decoder 'telepathy'"):
        make_decoder(card, make_outputs("int8", 0))
