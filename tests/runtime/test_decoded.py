"""Decoders of tensors that are decoded inside the graph, against their layouts' definitions in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.card import DecoderSpec, InputSpec, Labels, ModelCard, OutputBinding
from runtime.decode import make_decoder
from runtime.decode.candidates import Candidates
from runtime.decode.classes import ClassesDecoder
from runtime.engine import TensorSpec
from runtime.errors import InputError, RunError
from tests.runtime.test_card import make_card
from tests.runtime.test_yolo import Outputs

CLASSES, COUNT = 3, 40
WIDTH, HEIGHT = 64, 96
# Scale and zero point of each type for fractions and scores.
FORMATS: dict[str, tuple[Any, float, int]] = {
    "float32": (np.float32, 0.0, 0),
    "float16": (np.float16, 0.0, 0),
    "int8": (np.int8, 0.0045, -120),
    "uint8": (np.uint8, 0.0047, 3),
    "int16": (np.int16, 1.1 / 32767, 0),
}

Row = tuple[float, int, tuple[float, ...]]


def card(decoder: DecoderSpec, *kinds: Any, labels: Labels | None = None) -> ModelCard:
    return make_card(
        task="classify" if decoder.name == "classes" else "detect",
        input=InputSpec("image", WIDTH, HEIGHT),
        outputs=tuple(OutputBinding(kind, kind) for kind in kinds),
        decoder=decoder,
        labels=labels or Labels(("a", "b", "c")),
    )


def stored(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, TensorSpec]:
    """Random numbers as a tensor holds them, their real values, and the tensor; many scores are 0."""
    dtype, scale, zero_point = FORMATS[name]
    real = random.uniform(0, 1, shape) * (random.uniform(0, 1, shape) < 0.7)
    if not scale:
        raw = real.astype(dtype)
        return raw, raw.astype(np.float32), TensorSpec("prediction", shape, np.dtype(dtype))
    limits = np.iinfo(dtype)
    raw = np.clip(np.round(real / scale) + zero_point, limits.min, limits.max).astype(dtype)
    values = (raw.astype(np.float32) - zero_point) * np.float32(scale)
    return raw, values, TensorSpec("prediction", shape, np.dtype(dtype), scale, zero_point)


def table(rows: Sequence[Row]) -> np.ndarray:
    return np.array([(score, 1000 * class_id, *box) for score, class_id, box in rows]).reshape(-1, 6)


def assert_same(found: Candidates, expected: Sequence[Row]) -> None:
    rows = zip(found.scores.tolist(), found.class_ids.tolist(), found.boxes.tolist(), strict=True)
    mine, theirs = table([(score, class_id, tuple(box)) for score, class_id, box in rows]), table(expected)
    assert len(mine) == len(theirs)
    if len(mine):
        # In any order: each row has its like on the other side.
        apart = np.abs(mine[:, None] - theirs).max(axis=2)
        assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 2e-4
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.class_ids.dtype == np.int32


def box(numbers: Any, unit: tuple[float, float]) -> tuple[float, ...]:
    x, y, w, h = map(float, numbers)
    return tuple(v * unit[i % 2] for i, v in enumerate((x - w / 2, y - h / 2, x + w / 2, y + h / 2)))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from(list(FORMATS)),
    score=st.sampled_from([0.0, 0.001, 0.25, 0.7, 0.99, 1.0]),
    units=st.sampled_from(["fractions", "pixels"]),
    transposed=st.booleans(),
)
def test_yolov8(seed: int, name: str, score: float, units: Any, transposed: bool) -> None:
    shape = (1, COUNT, 4 + CLASSES) if transposed else (1, 4 + CLASSES, COUNT)
    raw, real, spec = stored(np.random.default_rng(seed), name, shape)
    columns = real[0].T if not transposed else real[0]
    unit = (WIDTH, HEIGHT) if units == "fractions" else (1.0, 1.0)
    expected = [
        (min(1.0, float(row[4 + k])), k, box(row[:4], unit))
        for row in columns
        for k in range(CLASSES)
        if row[4 + k] >= np.float32(score)
    ]
    executor = Outputs([spec], [raw])
    decoder = make_decoder(card(DecoderSpec("yolov8", units=units), "prediction"), executor)
    assert_same(decoder.decode(executor, score), expected)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from(list(FORMATS)),
    score=st.sampled_from([0.001, 0.25, 0.7, 0.99]),
    units=st.sampled_from(["fractions", "pixels"]),
)
def test_yolov5(seed: int, name: str, score: float, units: Any) -> None:
    raw, real, spec = stored(np.random.default_rng(seed), name, (1, COUNT, 5 + CLASSES))
    unit = (WIDTH, HEIGHT) if units == "fractions" else (1.0, 1.0)
    share = np.minimum(real[0, :, 4:], np.float32(1))
    expected = [
        (float(share[i, 0] * share[i, 1 + k]), k, box(real[0, i, :4], unit))
        for i in range(COUNT)
        for k in range(CLASSES)
        if share[i, 0] * share[i, 1 + k] >= np.float32(score)
    ]
    executor = Outputs([spec], [raw])
    decoder = make_decoder(card(DecoderSpec("yolov5", units=units), "prediction"), executor)
    assert_same(decoder.decode(executor, score), expected)


def postprocess_outputs(boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, count: float) -> Outputs:
    arrays = {"count": np.array([count], np.float32), "box": boxes[None], "score": scores[None], "class": classes[None]}
    specs = [TensorSpec(name, array.shape, array.dtype) for name, array in arrays.items()]
    return Outputs(specs, list(arrays.values()))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    score=st.sampled_from([0.0, 0.25, 0.5, 0.99]),
    count=st.sampled_from([-1, 0, 1, 5, 10, 99]),
)
def test_postprocess(seed: int, score: float, count: int) -> None:
    random = np.random.default_rng(seed)
    low, size = random.uniform(-0.1, 0.7, (10, 2)), random.uniform(0, 0.4, (10, 2))
    boxes = np.concatenate([low, low + size], axis=1).astype(np.float32)
    # Class 3 and above have no name here.
    classes = random.integers(0, CLASSES + 2, 10).astype(np.float32)
    scores = np.sort(random.uniform(0, 1, 10).astype(np.float32))[::-1].copy()
    expected: list[Row] = []
    for i in range(max(0, min(10, count))):
        if scores[i] >= np.float32(score) and classes[i] < CLASSES:
            ymin, xmin, ymax, xmax = map(float, boxes[i])
            place = (xmin * WIDTH, ymin * HEIGHT, xmax * WIDTH, ymax * HEIGHT)
            expected.append((float(scores[i]), int(classes[i]), place))
    executor = postprocess_outputs(boxes, classes, scores, count)
    decoder = make_decoder(card(DecoderSpec("postprocess"), "box", "class", "score", "count"), executor)
    assert_same(decoder.decode(executor, score), expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_absurd_numbers_give_finite_boxes(value: float) -> None:
    """A damaged network may give anything; warnings are errors here."""
    rows = np.full((1, COUNT, 5 + CLASSES), value, np.float32)
    rows[0, :4, 4:] = 0.9
    for name, array in (("yolov5", rows), ("yolov8", np.ascontiguousarray(rows[:, :, 1:].transpose(0, 2, 1)))):
        executor = Outputs([TensorSpec("prediction", array.shape, array.dtype)], [array])
        found = make_decoder(card(DecoderSpec(name), "prediction"), executor).decode(executor, 0.5)
        assert len(found.scores) >= 4
        assert np.isfinite(found.boxes).all()
        assert (found.scores <= 1).all()
    boxes, numbers = np.full((4, 4), value, np.float32), np.full(4, value, np.float32)
    executor = postprocess_outputs(boxes, numbers, np.full(4, 0.9, np.float32), value)
    decoder = make_decoder(card(DecoderSpec("postprocess"), "box", "class", "score", "count"), executor)
    assert np.isfinite(decoder.decode(executor, 0.5).boxes).all()


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from(list(FORMATS)),
    activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    background=st.booleans(),
    top=st.integers(1, 8),
)
def test_classes(seed: int, name: str, activation: Any, background: bool, top: int) -> None:
    raw, real, spec = stored(np.random.default_rng(seed), name, (1, 6))
    spec = TensorSpec("class", spec.shape, spec.dtype, spec.scale, spec.zero_point)
    numbers = real[0].astype(np.float64)
    scores = {
        "softmax": np.exp(numbers) / np.exp(numbers).sum(),
        "sigmoid": 1 / (1 + np.exp(-numbers)),
        "none": np.clip(numbers, 0, 1),
    }[activation]
    order = sorted(range(int(background), 6), key=lambda k: (-raw[0].tolist()[k], k))[:top]
    executor = Outputs([spec], [raw])
    named = card(DecoderSpec("classes", activation=activation), "class", labels=Labels(tuple("abcdef"), background))
    class_ids, mine = ClassesDecoder(named, executor).decode(executor, top)
    assert class_ids.tolist() == order
    np.testing.assert_allclose(mine, scores[order], rtol=1e-5)
    assert class_ids.dtype == np.int32
    assert mine.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_what_is_no_number_is_no_answer(activation: Any, top: int, dtype: type) -> None:
    array: np.ndarray = np.array([[0.5, math.nan, 0.25]], dtype)
    executor = Outputs([TensorSpec("class", (1, 3), array.dtype)], [array])
    named = card(DecoderSpec("classes", activation=activation), "class")
    with pytest.raises(RunError, match=r"1 of the 3 scores of .* are no numbers; expected one for each class; "):
        ClassesDecoder(named, executor).decode(executor, top)


@pytest.mark.parametrize("value", [1e38, -1e38, math.inf, -math.inf])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_absurd_logits(value: float, activation: Any) -> None:
    array = np.array([[0.5, value, 0.25]], np.float32)
    executor = Outputs([TensorSpec("class", (1, 3), array.dtype)], [array])
    named = card(DecoderSpec("classes", activation=activation), "class")
    _, scores = ClassesDecoder(named, executor).decode(executor, 3)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("yolov8", (1, 8, 40), r"expected \(1, 7, N\)"),
        ("yolov8", (2, 7, 40), r"has an output \(2, 7, 40\)"),
        ("yolov5", (1, 8, 40), r"expected \(1, N, 8\)"),
        ("yolov5", (1, 40), r"has an output \(1, 40\)"),
    ],
)
def test_card_and_tensor_disagree(name: str, shape: tuple[int, ...], message: str) -> None:
    executor = Outputs([TensorSpec("prediction", shape, np.dtype(np.float32))], [np.zeros(shape, np.float32)])
    with pytest.raises(InputError, match=message):
        make_decoder(card(DecoderSpec(name), "prediction"), executor)
    with pytest.raises(InputError, match="the card wants one of kind 'box'"):
        make_decoder(card(DecoderSpec("postprocess"), "box"), executor)
