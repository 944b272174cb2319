"""SSD decoding against the paper's equations, one anchor at a time, in plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.card import DecoderSpec, HeadSpec, InputSpec, Labels, ModelCard, OutputBinding
from runtime.decode import make_decoder
from runtime.engine import TensorSpec
from runtime.errors import InputError
from tests.runtime.test_card import make_card
from tests.runtime.test_yolo import Outputs, as_rows

WIDTH, HEIGHT = 70, 100  # no multiple of a stride: 5 x 7 and 3 x 4 cells
HEADS = (HeadSpec(16, ((12.0, 18.0), (37.0, 49.0))), HeadSpec(32, ((60.0, 40.0), (25.0, 80.0), (50.0, 50.0))))
CELLS = {16: (7, 5), 32: (4, 3)}
NAMES = ("a", "b", "c", "d")
VARIANCES = (0.1, 0.2)
# Type, then scale and zero point of the box and of the class tensor.
FORMATS: dict[str, tuple[Any, tuple[float, int], tuple[float, int]]] = {
    "float32": (np.float32, (0.0, 0), (0.0, 0)),
    "float16": (np.float16, (0.0, 0), (0.0, 0)),
    "int8": (np.int8, (0.05, -5), (0.12, 40)),
    "uint8": (np.uint8, (0.05, 120), (0.12, 170)),
    "int16": (np.int16, (0.0004, 0), (0.0005, 0)),
}
ACTIVATIONS = ("sigmoid", "softmax")
ANCHORS = 7 * 5 * 2 + 4 * 3 * 3
DTYPES = ["float32", "int32", "float32"]
Row = tuple[float, int, tuple[float, ...]]


def ssd_card(activation: str, **changes: Any) -> ModelCard:
    return make_card(
        input=InputSpec("image", WIDTH, HEIGHT),
        outputs=tuple(
            OutputBinding(f"{kind}_{head.stride}", kind, index)
            for index, head in enumerate(HEADS)
            for kind in ("box", "class")
        ),
        decoder=DecoderSpec("ssd", HEADS, VARIANCES, activation),  # type: ignore[arg-type]
        labels=Labels(NAMES, activation == "softmax"),
        **changes,
    )


def store(real: np.ndarray, dtype: Any, scale: float, zero: int) -> np.ndarray:
    if not scale:
        return real.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(real / scale) + zero, limits.min, limits.max).astype(dtype)


def make_outputs(name: str, seed: int, activation: str = "sigmoid", spread: float = 4.0) -> Outputs:
    """Random stored numbers with a few confident anchors."""
    random = np.random.default_rng(seed)
    dtype, *scales = FORMATS[name]
    specs, arrays = [], []
    for head in HEADS:
        for kind, size, (scale, zero) in zip(("box", "class"), (4, len(NAMES)), scales, strict=True):
            shape = (1, *CELLS[head.stride], len(head.anchors) * size)
            real = random.normal(0, 2, shape) if kind == "box" else random.normal(-3, spread, shape)
            if kind == "class" and activation == "softmax":
                real[..., :: len(NAMES)] += 4
            specs.append(TensorSpec(f"{kind}_{head.stride}", shape, np.dtype(dtype), scale, zero))
            arrays.append(store(real, dtype, scale, zero))
    order = random.permutation(len(specs))
    return Outputs([specs[i] for i in order], [arrays[i] for i in order])


def class_scores(logits: list[float], activation: str) -> list[float]:
    """Score of each class; the background's is negative, so that it never reaches a threshold."""
    if activation == "sigmoid":
        return [1 / (1 + math.exp(-x)) if x > -700 else 0.0 for x in logits]
    powers = [math.exp(x - max(logits)) for x in logits]
    return [-1.0] + [power / sum(powers) for power in powers[1:]]


def by_the_paper(outputs: Outputs, score: float, activation: str) -> list[Row]:
    """Every class of every anchor that reaches the score: (score, class, corners in input pixels)."""
    tensors = {}
    for index, spec in enumerate(outputs.outputs):
        stored = outputs.output_view(index).astype(np.float64)
        tensors[spec.name] = (stored - spec.zero_point) * spec.scale if spec.scale else stored
    found = []
    for head in HEADS:
        rows, columns = CELLS[head.stride]
        box, class_ = tensors[f"box_{head.stride}"][0], tensors[f"class_{head.stride}"][0]
        for row, column, index in np.ndindex(rows, columns, len(head.anchors)):
            anchor_width, anchor_height = head.anchors[index]
            tx, ty, tw, th = box[row, column, 4 * index : 4 * index + 4]
            x = (column + 0.5) / columns * WIDTH + tx * 0.1 * anchor_width
            y = (row + 0.5) / rows * HEIGHT + ty * 0.1 * anchor_height
            w, h = anchor_width * math.exp(tw * 0.2), anchor_height * math.exp(th * 0.2)
            logits = class_[row, column, len(NAMES) * index : len(NAMES) * (index + 1)].tolist()
            for k, value in enumerate(class_scores(logits, activation)):
                if value >= score:
                    found.append((value, k, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
    return sorted(found)


@settings(max_examples=150)
@given(
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from(ACTIVATIONS),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1e-6, 0.001, 0.1, 0.25, 0.5, 0.9, 0.9995, 1.0]),
    st.sampled_from([0.5, 4.0, 12.0]),
)
def test_equals_the_paper(name: str, activation: str, seed: int, score: float, spread: float) -> None:
    outputs = make_outputs(name, seed, activation, spread)
    expected = by_the_paper(outputs, score, activation)
    found = make_decoder(ssd_card(activation), outputs).decode(outputs, score)
    assert [str(array.dtype) for array in (found.scores, found.class_ids, found.boxes)] == DTYPES
    # A score within float32 rounding of the threshold may fall on either side.
    mine = [row for row in as_rows(found) if score == 0 or row[0] - score > 1e-6 * score]
    firm = [row for row in expected if score == 0 or row[0] - score > 1e-6 * score]
    assert all(row[0] >= np.float32(score) for row in as_rows(found))
    if score == 0:
        assert len(found.scores) == len(expected) == ANCHORS * (4 - (activation == "softmax"))
    if score < 1:  # float32 rounds scores up to 1, float64 does not
        assert_same(mine, firm)


def assert_same(mine: list[Row], expected: list[Row]) -> None:
    """The same rows in any order: each one's nearest is near, and no two share it."""
    assert len(mine) == len(expected)
    if not mine:
        return
    ours, theirs = (np.array([(1e3 * k, 1e2 * score, *box) for score, k, box in rows]) for rows in (mine, expected))
    distance = np.abs(ours[:, None] - theirs).max(axis=2)
    nearest = distance.argmin(axis=1)
    assert len(set(nearest.tolist())) == len(mine)
    theirs = theirs[nearest]
    np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
    np.testing.assert_allclose(ours[:, 1], theirs[:, 1], rtol=1e-4, atol=1e-37)
    np.testing.assert_allclose(ours[:, 2:], theirs[:, 2:], rtol=1e-4, atol=1e-2)


def set_all(outputs: Outputs, kind: str, value: float) -> None:
    for index, spec in enumerate(outputs.outputs):
        if spec.name.startswith(kind):
            outputs.output_view(index)[:] = value


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_score_equal_to_the_threshold_is_kept(name: str, activation: str) -> None:
    outputs = make_outputs(name, 3, activation)
    decoder = make_decoder(ssd_card(activation), outputs)
    scores = np.unique(decoder.decode(outputs, 0.0).scores)
    above = decoder.decode(outputs, 0.01).scores
    for score in scores[:: max(1, len(scores) // 40)]:
        found = decoder.decode(outputs, float(score)).scores
        assert found.min() == score
        assert len(decoder.decode(outputs, float(np.nextafter(score, np.float32(2)))).scores) < len(found)
    # The threshold can change between frames and back.
    np.testing.assert_array_equal(decoder.decode(outputs, 0.01).scores, above)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_certain_score_of_saturated_logits(name: str, activation: str) -> None:
    """Where float32 rounds a score to 1, a threshold of 1 is reached; nowhere else."""
    outputs = make_outputs(name, 3, activation, spread=1.0)
    decoder = make_decoder(ssd_card(activation), outputs)
    none = decoder.decode(outputs, 1.0)
    assert (none.boxes.shape, none.scores.shape, none.class_ids.shape) == ((0, 4), (0,), (0,))
    if name.startswith("float"):
        for index, spec in enumerate(outputs.outputs):
            if spec.name.startswith("class"):
                outputs.output_view(index)[..., 2 :: len(NAMES)] = 40
        found = decoder.decode(outputs, 1.0)
        assert found.class_ids.tolist() == [2] * ANCHORS
        assert (found.scores == 1).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["float16", "float32"])
def test_boxes_of_no_numbers_stay_finite(name: str, activation: str) -> None:
    outputs = make_outputs(name, 1, activation)
    set_all(outputs, "box", np.nan)
    assert np.isfinite(make_decoder(ssd_card(activation), outputs).decode(outputs, 0.0).boxes).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("value", [1e4, -1e4, 3e38, -3e38, np.inf, -np.inf])
def test_extreme_logits_stay_finite(value: float, activation: str) -> None:
    outputs = make_outputs("float32", 1, activation)
    set_all(outputs, "box", value)
    for index, spec in enumerate(outputs.outputs):
        if spec.name.startswith("class"):
            outputs.output_view(index)[..., 1 :: len(NAMES)] = value
    candidates = make_decoder(ssd_card(activation), outputs).decode(outputs, 0.0)
    ones = candidates.class_ids == 1
    assert ones.sum() == ANCHORS
    np.testing.assert_allclose(candidates.scores[ones], float(value > 0), atol=1e-30)
    assert np.isfinite(candidates.boxes).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["float16", "float32"])
def test_nothing_is_found_in_nan(name: str, activation: str) -> None:
    outputs = make_outputs(name, 1, activation)
    set_all(outputs, "class", np.nan)
    assert len(make_decoder(ssd_card(activation), outputs).decode(outputs, 0.1).scores) == 0


@pytest.mark.parametrize(("dtype", "extreme"), [(np.int8, 127), (np.int8, -128), (np.uint8, 255), (np.uint8, 0)])
def test_background_at_the_end_of_the_range(dtype: Any, extreme: int) -> None:
    """The bound beside such a background has no stored number; the exact score must still decide."""
    scale = 0.05
    middle = int(np.iinfo(dtype).min) + 128
    card = make_card(
        input=InputSpec("image", 16 * 256, 16),
        outputs=(OutputBinding("box", "box", 0), OutputBinding("class", "class", 0)),
        decoder=DecoderSpec("ssd", (HeadSpec(16, ((9.0, 9.0),)),), activation="softmax"),
        labels=Labels(("none", "a"), True),
    )
    classes = np.empty((1, 1, 256, 2), dtype)
    classes[..., 0], classes[..., 1] = extreme, np.arange(256) + int(np.iinfo(dtype).min)
    shapes = TensorSpec("box", (1, 1, 256, 4), np.dtype(dtype), 0.1, middle), (1, 1, 256, 2)
    specs = [shapes[0], TensorSpec("class", shapes[1], np.dtype(dtype), scale, middle)]
    outputs = Outputs(specs, [np.full(shapes[0].shape, middle, dtype), classes])
    decoder = make_decoder(card, outputs)
    exact = 1 / (1 + np.exp((extreme - classes[0, 0, :, 1].astype(np.float64)) * scale))
    for score in (0.0, 1e-7, 0.003, 0.2, 0.4999, 0.5001, 0.7, 0.99, 1.0):
        found = decoder.decode(outputs, score)
        assert len(found.scores) == (exact >= score).sum()
        np.testing.assert_allclose(found.scores, exact[exact >= score], rtol=1e-5)
        assert (found.class_ids == 1).all()


def encode(box: tuple[float, ...], centre: tuple[float, float], anchor: tuple[float, float]) -> list[float]:
    """The paper's equation 2, divided by the variances: what a network should say for a box (x1, y1, x2, y2)."""
    x1, y1, x2, y2 = box
    return [
        ((x1 + x2) / 2 - centre[0]) / anchor[0] / VARIANCES[0],
        ((y1 + y2) / 2 - centre[1]) / anchor[1] / VARIANCES[0],
        math.log((x2 - x1) / anchor[0]) / VARIANCES[1],
        math.log((y2 - y1) / anchor[1]) / VARIANCES[1],
    ]


corner = st.floats(-50, 350)
side = st.floats(1, 300)


@settings(max_examples=60)
@given(st.tuples(corner, corner, side, side), st.integers(0, 18), st.integers(0, 12), st.integers(0, 1))
def test_encoded_box_is_decoded(box: tuple[float, ...], column: int, row: int, anchor: int) -> None:
    """A 300 x 200 input has 19 x 13 cells at stride 16, and their centres share the input evenly."""
    anchors = ((40.0, 60.0), (90.0, 30.0))
    card = make_card(
        input=InputSpec("image", 300, 200),
        outputs=(OutputBinding("b", "box", 0), OutputBinding("c", "class", 0)),
        decoder=DecoderSpec("ssd", (HeadSpec(16, anchors),), VARIANCES),
    )
    boxes, classes = np.zeros((1, 13, 19, 8), np.float32), np.full((1, 13, 19, 4), -9, np.float32)
    wanted = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    centre = ((column + 0.5) * 300 / 19, (row + 0.5) * 200 / 13)
    boxes[0, row, column, 4 * anchor : 4 * anchor + 4] = encode(wanted, centre, anchors[anchor])
    classes[0, row, column, 2 * anchor + 1] = 2
    specs = [TensorSpec("b", boxes.shape, boxes.dtype), TensorSpec("c", classes.shape, classes.dtype)]
    outputs = Outputs(specs, [boxes, classes])
    found = make_decoder(card, outputs).decode(outputs, 0.5)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.boxes[0], wanted, rtol=1e-4, atol=2e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda specs: specs[:-1], "one '"),
        (lambda specs: [*specs[1:], TensorSpec("other", specs[0].shape, specs[0].dtype)], "one '"),
        (lambda specs: [TensorSpec(s.name, (1, 1, 1, 1), s.dtype) for s in specs], "of shape"),
        # One cell fewer in each direction: a network that rounds its grid down.
        (lambda specs: [TensorSpec(s.name, (1, 6, 4, s.shape[3]), s.dtype) for s in specs], r"shape \(1, 7, 5, 8\)"),
    ],
)
def test_tensors_that_do_not_fit_the_card(change: Any, message: str) -> None:
    outputs = make_outputs("int8", 0)
    outputs.outputs = tuple(change(list(outputs.outputs)))
    with pytest.raises(InputError, match=message):
        make_decoder(ssd_card("sigmoid"), outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("score", [1e-36, 1e-20, 0.3, 0.99999, 1.0])
def test_threshold_only_leaves_out(name: str, activation: str, score: float) -> None:
    """Whatever a threshold keeps is what the same frame without one gives, down to the last bit of float32."""
    outputs = make_outputs(name, 9, activation, spread=60.0)
    decoder = make_decoder(ssd_card(activation), outputs)
    every = as_rows(decoder.decode(outputs, 0.0))
    assert as_rows(decoder.decode(outputs, score)) == [row for row in every if row[0] >= np.float32(score)]
