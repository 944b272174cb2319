"""The loss against the papers' formulas in float64 NumPy, and against the device's own arithmetic."""

from __future__ import annotations

from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from convert.train.loss import MultiboxLoss, decode_boxes, overlap
from convert.train.recipe import BoxLoss, ClassLoss
from convert.train.targets import EMPTY, IGNORED, Floats, Matching, anchor_boxes, corners, make_targets
from runtime.card import HeadSpec
from runtime.decode import make_decoder
from runtime.nms import iou_matrix
from tests.convert.test_train_targets import HEADS as DEVICE_HEADS
from tests.convert.test_train_targets import as_outputs, ssd_card

HEADS = (HeadSpec(16, ((14.0, 20.0), (30.0, 24.0))), HeadSpec(32, ((40.0, 40.0),)))
SIZE = 64
ANCHORS = anchor_boxes(HEADS, SIZE, SIZE)
VARIANCES = (0.1, 0.2)
CLASS_LOSSES: tuple[ClassLoss, ...] = get_args(ClassLoss)
BOX_LOSSES: tuple[BoxLoss, ...] = get_args(BoxLoss)
CLASSES = 3
kinds = pytest.mark.parametrize("kind", CLASS_LOSSES)
places = pytest.mark.parametrize("place", BOX_LOSSES)


def as_numpy(value: Any) -> Floats:
    return np.asarray(keras.ops.convert_to_numpy(value), np.float32)


def channels(kind: ClassLoss) -> int:
    return CLASSES + (kind == "hard-negative")


def targets_of(seed: int, pictures: int = 2) -> Floats:
    """Targets of pictures with some objects, one of them ignored; of one picture without."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(pictures - 1):
        low = random.uniform(0, 36, (4, 2))
        boxes = np.concatenate([low, low + random.uniform(10, 28, (4, 2))], axis=1).astype(np.float32)
        class_ids = random.integers(0, CLASSES, 4).astype(np.int32)
        found.append(make_targets(ANCHORS, boxes, class_ids, np.arange(4) == 3, Matching(0.45, 0.35, 2)))
    found.append(np.concatenate([np.zeros((len(ANCHORS), 4)), np.full((len(ANCHORS), 1), EMPTY)], 1).astype(np.float32))
    targets = np.stack(found)
    assert {EMPTY, IGNORED} < set(targets[..., 4].ravel().tolist())
    return targets


def predictions_of(seed: int, kind: ClassLoss, pictures: int = 2) -> Floats:
    shape = (pictures, len(ANCHORS), 4 + channels(kind))
    return np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)


def decoded(raw: Any) -> Any:
    """SSD's equation 2 the other way round, float64."""
    raw, anchors = np.asarray(raw, np.float64), ANCHORS.astype(np.float64)
    middle = anchors[:, :2] + raw[..., :2] * VARIANCES[0] * anchors[:, 2:]
    size = anchors[:, 2:] * np.exp(raw[..., 2:4] * VARIANCES[1])
    return np.concatenate([middle - size / 2, middle + size / 2], axis=-1)


def encoded(boxes: Any) -> Any:
    """SSD's equation 2, divided by the variances, float64."""
    boxes, anchors = np.asarray(boxes, np.float64), ANCHORS.astype(np.float64)
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    offsets = (middle - anchors[:, :2]) / anchors[:, 2:] / VARIANCES[0]
    return np.concatenate([offsets, np.log(size / anchors[:, 2:]) / VARIANCES[1]], axis=-1)


def giou_of(a: Any, b: Any) -> tuple[float, float]:
    """Algorithm 1 of arXiv:1902.09630 for two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = width * height if width > 0 and height > 0 else 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inter / union, inter / union - (hull - union) / hull


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def class_term(kind: ClassLoss, logits: Any, label: int, iou: float) -> float:
    """What one anchor's classes cost by focal (alpha 0.25, gamma 2) or quality focal loss (beta 2)."""
    if label == IGNORED:
        return 0.0
    total = 0.0
    for index, p in enumerate(sigmoid(logits)):
        if kind == "focal":
            # FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t)
            p_t, alpha = (p, 0.25) if index == label else (1 - p, 0.75)
            total += -alpha * (1 - p_t) ** 2 * np.log(p_t)
        else:
            # QFL(sigma) = -|y - sigma|^beta ((1 - y) log(1 - sigma) + y log(sigma))
            y = iou if index == label else 0.0
            total += -(abs(y - p) ** 2) * ((1 - y) * np.log(1 - p) + y * np.log(p))
    return total


def mined(logits: Any, labels: Any) -> float:
    """Softmax cross entropy of one picture's objects and of its three hardest empty anchors per object."""
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    objects = [-np.log(row[int(label) + 1]) for row, label in zip(shares, labels, strict=True) if label >= 0]
    empty = sorted((-np.log(row[0]) for row, label in zip(shares, labels, strict=True) if label == EMPTY), reverse=True)
    return float(sum(objects) + sum(empty[: 3 * max(1, len(objects))]))


def by_the_papers(targets: Floats, raw: Any, kind: ClassLoss, place: BoxLoss, weight: float) -> float:
    raw, boxes = np.asarray(raw, np.float64), decoded(raw)
    classes = where = count = 0.0
    for picture, answers in enumerate(targets):
        if kind == "hard-negative":
            classes += mined(raw[picture, :, 4:], answers[:, 4])
        wanted = encoded(np.where(answers[:, 4:] >= 0, answers[:, :4], corners(ANCHORS)))
        for anchor, answer in enumerate(answers):
            iou = 0.0
            if answer[4] >= 0:
                count += 1
                iou, giou = giou_of(boxes[picture, anchor], answer[:4].astype(np.float64))
                off = np.abs(raw[picture, anchor, :4] - wanted[anchor])
                where += 1 - giou if place == "giou" else float(np.where(off < 1, off**2 / 2, off - 0.5).sum())
            if kind != "hard-negative":
                classes += class_term(kind, raw[picture, anchor, 4:], int(answer[4]), iou)
    return (classes + weight * where) / max(count, 1)


def loss_of(kind: ClassLoss, place: BoxLoss, weight: float = 2.0) -> MultiboxLoss:
    return MultiboxLoss(ANCHORS, VARIANCES, kind, place, weight)


@kinds
@places
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_papers(kind: ClassLoss, place: BoxLoss, seed: int) -> None:
    targets, raw = targets_of(seed, 3), predictions_of(seed, kind, 3)
    mine = float(as_numpy(loss_of(kind, place, 1.5)(targets, raw)))
    assert mine == pytest.approx(by_the_papers(targets, raw, kind, place, 1.5), rel=1e-4)


@kinds
@places
def test_pictures_without_objects(kind: ClassLoss, place: BoxLoss) -> None:
    targets, raw = targets_of(0, 2)[1:], predictions_of(1, kind, 1)
    mine = float(as_numpy(loss_of(kind, place)(targets, raw)))
    assert mine == pytest.approx(by_the_papers(targets, raw, kind, place, 2.0), rel=1e-4)


coordinates = npst.arrays(np.float32, (6, 4), elements=st.floats(0, 100, width=16))


@settings(max_examples=100)
@given(coordinates, coordinates)
def test_overlap_equals_the_paper_and_the_device(first: Floats, second: Floats) -> None:
    boxes = [np.concatenate([box[:, :2], box[:, :2] + box[:, 2:] + 1], axis=1) for box in (first, second)]
    iou, giou = (as_numpy(value) for value in overlap(*boxes))
    expected = np.array([giou_of(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(*boxes, strict=True)])
    np.testing.assert_allclose(iou, expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(giou, expected[:, 1], atol=1e-5)
    np.testing.assert_allclose(iou, np.diag(iou_matrix(*boxes)), atol=1e-6)


def test_boxes_are_decoded_as_on_the_device() -> None:
    random = np.random.default_rng(5)
    anchors = anchor_boxes(DEVICE_HEADS, 128, 96)
    raw = np.concatenate([random.normal(0, 6, (len(anchors), 4)), np.zeros((len(anchors), 1))], 1).astype(np.float32)
    mine = as_numpy(decode_boxes(raw[None, :, :4], anchors[:, :2], anchors[:, 2:], VARIANCES))[0]
    outputs = as_outputs(raw, 128, 96)
    found = make_decoder(ssd_card(128, 96, ("a",)), outputs).decode(outputs, 0.1)
    np.testing.assert_allclose(mine, found.boxes, rtol=1e-5, atol=1e-3)


def perfect(targets: Floats, kind: ClassLoss) -> Floats:
    """What a network that knows everything says."""
    raw = np.full((*targets.shape[:2], 4 + channels(kind)), -30.0)
    for picture, anchor in np.argwhere(targets[..., 4] >= 0).tolist():
        row, place = targets[picture, anchor], (picture, anchor)
        raw[*place, :4] = encoded(np.repeat(row[None, :4], len(ANCHORS), 0))[place[1]]
        raw[*place, 4 + int(row[4]) + (kind == "hard-negative")] = 30.0
    if kind == "hard-negative":
        raw[..., 4] = np.where(targets[..., 4] < 0, 30.0, -30.0)
    return raw.astype(np.float32)


@kinds
@places
def test_perfect_answers_cost_nothing(kind: ClassLoss, place: BoxLoss) -> None:
    targets = targets_of(2)
    assert 0 <= float(as_numpy(loss_of(kind, place)(targets, perfect(targets, kind)))) < 1e-3


@kinds
def test_ignored_anchors_are_free(kind: ClassLoss) -> None:
    targets, raw = targets_of(3), predictions_of(3, kind)
    other = raw.copy()
    other[targets[..., 4] == IGNORED] += 5
    losses = [float(as_numpy(loss_of(kind, "giou")(targets, values))) for values in (raw, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def gradient(loss: MultiboxLoss, targets: Floats, raw: Floats) -> tuple[float, Floats]:
    variable = tf.Variable(raw)
    with tf.GradientTape() as tape:
        value = loss(targets, variable)
    return float(value), np.asarray(tape.gradient(value, variable))


@kinds
@places
@pytest.mark.parametrize("extreme", [0.0, 60.0, -60.0, 1e4, -1e4])
def test_gradients_stay_finite(kind: ClassLoss, place: BoxLoss, extreme: float) -> None:
    """Boxes of nearly no size, huge boxes far away, boxes right on the object, saturated logits."""
    targets = targets_of(4)
    raw = predictions_of(4, kind)
    for part in (slice(0, 2), slice(2, 4), slice(4, None), slice(None)):
        wild = raw.copy()
        wild[..., part] = extreme
        value, slope = gradient(loss_of(kind, place), targets, wild)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
    value, slope = gradient(loss_of(kind, place), targets, perfect(targets, kind))
    assert np.isfinite(slope).all()


@kinds
@places
def test_gradient_equals_differences(kind: ClassLoss, place: BoxLoss) -> None:
    """Along a random direction; the IoU that the quality loss asks for is a target, so boxes stand still there."""
    targets, raw = targets_of(6), predictions_of(6, kind)
    direction = np.random.default_rng(7).normal(0, 1, raw.shape)
    if kind == "quality":
        direction[..., :4] = 0
    _, slope = gradient(loss_of(kind, place), targets, raw)
    step = 1e-5
    ends = [by_the_papers(targets, raw + sign * step * direction, kind, place, 2.0) for sign in (1, -1)]
    assert float((slope * direction).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-4)


def test_quality_asks_for_the_overlap() -> None:
    """A well classed anchor whose box overlaps the object by a half loses least at a score of a half."""
    targets = targets_of(8)
    raw = perfect(targets, "quality")
    place = tuple(np.argwhere(targets[..., 4] >= 0)[0].tolist())
    box = targets[*place, :4].copy()
    box[2] = (box[0] + box[2]) / 2
    raw[*place, :4] = encoded(np.repeat(box[None], len(ANCHORS), 0))[place[1]]
    costs = []
    scores = np.linspace(0.05, 0.95, 19)
    for score in scores:
        raw[*place, 4 + int(targets[*place, 4])] = np.log(score / (1 - score))
        costs.append(float(as_numpy(loss_of("quality", "giou")(targets, raw))))
    assert scores[int(np.argmin(costs))] == pytest.approx(0.5)


@kinds
@places
def test_gradient_descent_learns_the_targets(kind: ClassLoss, place: BoxLoss) -> None:
    targets = targets_of(9)
    raw = keras.Variable(np.zeros((*targets.shape[:2], 4 + channels(kind)), np.float32))
    optimizer = keras.optimizers.Adam(0.6)
    loss = loss_of(kind, place)
    losses = []
    for _ in range(25):
        value, slope = gradient(loss, targets, np.asarray(raw))
        losses.append(value)
        optimizer.apply([keras.ops.convert_to_tensor(slope)], [raw])
    assert losses[-1] < 0.2 * losses[0]
    positive = targets[..., 4] >= 0
    boxes = decoded(np.asarray(raw)[..., :4])[positive]
    ious = [giou_of(a, b)[0] for a, b in zip(boxes, targets[positive][:, :4].astype(np.float64), strict=True)]
    assert min(ious) > 0.5
