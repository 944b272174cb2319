"""Targets against the matching rules applied pair by pair, and against what the device makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convert.train.targets import EMPTY, IGNORED, Floats, Matching, anchor_boxes, corners, make_targets
from runtime.card import DecoderSpec, HeadSpec, InputSpec, Labels, ModelCard, OutputBinding
from runtime.decode import make_decoder
from runtime.engine import TensorSpec
from tests.runtime.test_card import make_card
from tests.runtime.test_yolo import Outputs

HEADS = (HeadSpec(16, ((14.0, 20.0), (33.0, 41.0))), HeadSpec(32, ((60.0, 40.0), (25.0, 80.0), (50.0, 50.0))))
RULES = [Matching(), Matching(0.45, 0.35, 4), Matching(0.6, 0.6, 2), Matching(0.5, 0.4, 0)]
seeds = st.integers(0, 2**32)


def iou_of(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def owners(overlaps: list[list[float]], how: Matching) -> dict[int, int]:
    """Which object each positive anchor answers for, pair by pair."""
    objects = range(len(overlaps[0]))
    owner = {}
    for anchor, row in enumerate(overlaps):
        if max(row) >= how.positive:
            owner[anchor] = row.index(max(row))
    pairs = sorted(((x, a, o) for a, row in enumerate(overlaps) for o, x in enumerate(row) if x > 0), reverse=True)
    for number in range(how.at_least):
        # The first anchor may be taken from another object's claim, the others may not.
        given_away = set(owner) if number else set()
        enough = {o for o in objects if number and list(owner.values()).count(o) >= how.at_least}
        for _, anchor, o in pairs:
            if o not in enough and anchor not in given_away:
                owner[anchor] = o
                given_away.add(anchor)
                enough.add(o)
    return owner


def boxes_of(random: np.random.Generator, count: int) -> Floats:
    middle, size = random.uniform(0, 100, (count, 2)), np.exp(random.uniform(1.5, 4.5, (count, 2)))
    return np.concatenate([middle - size / 2, middle + size / 2], axis=1).astype(np.float32)


@settings(max_examples=120)
@given(seeds, st.integers(1, 40), st.integers(1, 7), st.sampled_from(RULES))
def test_equals_the_rules_pair_by_pair(seed: int, count: int, objects: int, how: Matching) -> None:
    random = np.random.default_rng(seed)
    anchors, boxes = boxes_of(random, count), boxes_of(random, objects)
    # Objects of one cluster contest each other's anchors.
    boxes = (boxes * 0.3 + boxes[:1] * 0.7).astype(np.float32) if seed % 2 else boxes
    class_ids, ignored = random.integers(0, 5, objects).astype(np.int32), random.random(objects) < 0.3
    overlaps = [[iou_of(a, b) for b in boxes.tolist()] for a in anchors.tolist()]
    # Float32 may order nearly equal overlaps the other way round.
    numbers = sorted({x for row in overlaps for x in row if x > 0} | {how.positive, how.negative})
    assume(len(numbers) < 2 or np.diff(numbers).min() > 1e-6)
    centred = np.concatenate([(anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]], axis=1)
    targets = make_targets(centred, boxes, class_ids, ignored, how)
    owner = owners(overlaps, how)
    for anchor, row in enumerate(overlaps):
        index = owner.get(anchor)
        if index is None:
            expected = IGNORED if max(row) >= how.negative else EMPTY
            assert targets[anchor].tolist() == [0, 0, 0, 0, expected]
        else:
            assert targets[anchor, :4].tolist() == boxes[index].tolist()
            assert targets[anchor, 4] == (IGNORED if ignored[index] else class_ids[index])


def answering(targets: Floats, box: Floats) -> int:
    """How many anchors answer for an object."""
    return int(((targets[:, 4] >= 0) & (targets[:, :4] == box).all(axis=1)).sum())


@settings(max_examples=80)
@given(seeds, st.integers(1, 6), st.sampled_from([1, 4]))
def test_every_object_that_can_gets_its_anchors(seed: int, objects: int, at_least: int) -> None:
    """The picture has far more anchors than these objects need, so none may go without."""
    random = np.random.default_rng(seed)
    anchors = anchor_boxes(HEADS, 128, 128)
    low = random.uniform(0, 60, (objects, 2))
    boxes = np.concatenate([low, low + random.uniform(3, 60, (objects, 2))], axis=1).astype(np.float32)
    class_ids, ignored = np.arange(objects, dtype=np.int32), random.random(objects) < 0.3
    targets = make_targets(anchors, boxes, class_ids, ignored, Matching(0.5, 0.4, at_least))
    overlap = np.array([[iou_of(a, b) for b in boxes.tolist()] for a in corners(anchors).tolist()])
    touched = (overlap > 0).sum(axis=0)
    for index, box in enumerate(boxes):
        if ignored[index]:
            assert not (targets[:, 4] == class_ids[index]).any()
        elif touched[index] >= at_least * objects:
            assert answering(targets, box) >= 1
            claimed = ((overlap >= 0.5).any(axis=1) & (overlap[:, index] > 0)).sum()
            if touched[index] - claimed >= at_least * objects:
                assert answering(targets, box) >= at_least


@settings(max_examples=60)
@given(seeds, st.sampled_from(RULES))
def test_order_of_objects_does_not_matter(seed: int, how: Matching) -> None:
    random = np.random.default_rng(seed)
    anchors, boxes = boxes_of(random, 60), boxes_of(random, 6)
    class_ids, ignored, order = np.arange(6, dtype=np.int32), random.random(6) < 0.3, random.permutation(6)
    centred = np.concatenate([(anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]], axis=1)
    first = make_targets(centred, boxes, class_ids, ignored, how)
    other = make_targets(centred, boxes[order], class_ids[order], ignored[order], how)
    np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("at_least", [1, 2, 3])
@pytest.mark.parametrize("swap", [False, True])
def test_better_fit_wins_a_contested_anchor(at_least: int, swap: bool) -> None:
    """Both objects fit the anchor in the middle best; the worse fit must take the next."""
    anchors = np.array([[50, 50, 20, 20], [70, 50, 20, 20], [90, 50, 20, 20]], np.float32)
    boxes = np.array([[48, 40, 64, 60], [53, 41, 69, 60]], np.float32)
    class_ids = np.array([0, 1], np.int32)
    if swap:
        boxes, class_ids = boxes[::-1], class_ids[::-1]
    targets = make_targets(anchors, boxes, class_ids, np.zeros(2, bool), Matching(0.95, 0.9, at_least))
    assert targets[:, 4].tolist() == [0, 1, EMPTY]


def test_later_anchors_go_to_the_better_fit_too() -> None:
    """Each object has an anchor of its own; the one between them is the second choice of both."""
    anchors = np.array([[20, 50, 20, 20], [40, 50, 20, 20], [60, 50, 20, 20]], np.float32)
    boxes = np.array([[12, 40, 36, 60], [45, 40, 68, 60]], np.float32)
    for order in ([0, 1], [1, 0]):
        targets = make_targets(
            anchors, boxes[order], np.array(order, np.int32), np.zeros(2, bool), Matching(0.95, 0.9, 2)
        )
        assert targets[:, 4].tolist() == [0, 0, 1]


def test_two_objects_in_one_place_both_get_an_anchor() -> None:
    anchors = anchor_boxes(HEADS, 128, 128)
    boxes = np.array([[40, 40, 52, 58], [40, 40, 52, 58]], np.float32)
    targets = make_targets(anchors, boxes, np.array([3, 4], np.int32), np.zeros(2, bool), Matching(0.9, 0.8))
    assert {3.0, 4.0} <= set(targets[:, 4].tolist())


def test_nothing_to_find() -> None:
    anchors = anchor_boxes(HEADS, 64, 64)
    none = make_targets(anchors, np.empty((0, 4), np.float32), np.empty(0, np.int32), np.empty(0, bool), Matching())
    far = np.array([[500, 500, 520, 520]], np.float32)
    away = make_targets(anchors, far, np.zeros(1, np.int32), np.zeros(1, bool), Matching())
    for targets in (none, away):
        assert targets.shape == (len(anchors), 5)
        assert targets.dtype == np.float32
        assert (targets[:, 4] == EMPTY).all()


def test_ignored_object_silences_its_anchors() -> None:
    anchors = anchor_boxes(HEADS, 128, 128)
    box, one = corners(anchors)[70:71], np.zeros(1, np.int32)
    seen = make_targets(anchors, box, one, np.zeros(1, bool), Matching())
    unseen = make_targets(anchors, box, one, np.ones(1, bool), Matching())
    assert seen[70, 4] == 0
    np.testing.assert_array_equal(unseen[:, 4], np.where(seen[:, 4] == 0, IGNORED, seen[:, 4]))


def ssd_card(width: int, height: int, labels: tuple[str, ...]) -> ModelCard:
    bindings = [OutputBinding(f"{kind}{i}", kind, i) for i in range(len(HEADS)) for kind in ("box", "class")]
    return make_card(
        input=InputSpec("image", width, height),
        outputs=tuple(bindings),
        decoder=DecoderSpec("ssd", HEADS, (0.1, 0.2)),
        labels=Labels(labels),
    )


def as_outputs(raw: Floats, width: int, height: int) -> Outputs:
    """``(n, 4 + classes)`` numbers in the order of anchors as the tensors of a network."""
    specs, arrays, begin = [], [], 0
    for index, head in enumerate(HEADS):
        rows, columns, count = -(-height // head.stride), -(-width // head.stride), len(head.anchors)
        part = raw[begin : begin + rows * columns * count]
        begin += len(part)
        for kind, values in (("box", part[:, :4]), ("class", part[:, 4:])):
            arrays.append(np.ascontiguousarray(values.reshape(1, rows, columns, -1), np.float32))
            specs.append(TensorSpec(f"{kind}{index}", arrays[-1].shape, np.dtype(np.float32)))
    assert begin == len(raw)
    return Outputs(specs, arrays)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (70, 100), (96, 224)])
def test_device_finds_what_the_targets_ask_for(width: int, height: int) -> None:
    """A network that answers its targets exactly makes the device report the annotated boxes, and nothing else."""
    random = np.random.default_rng(width)
    anchors = anchor_boxes(HEADS, width, height)
    low = random.uniform(0, 40, (4, 2))
    boxes = np.concatenate([low, low + random.uniform(8, 28, (4, 2))], axis=1).astype(np.float32)
    class_ids = np.array([2, 0, 1, 2], np.int32)
    targets = make_targets(anchors, boxes, class_ids, np.zeros(4, bool), Matching(0.45, 0.35, 2)).astype(np.float64)
    positive = targets[:, 4] >= 0
    raw = np.full((len(anchors), 4 + 3), -9.0)
    raw[positive, 4 + targets[positive, 4].astype(int)] = 3.0
    # The paper's equation 2, divided by the variances.
    middle, size = (targets[:, :2] + targets[:, 2:4]) / 2, targets[:, 2:4] - targets[:, :2]
    raw[positive, :2] = ((middle - anchors[:, :2]) / anchors[:, 2:] / 0.1)[positive]
    raw[positive, 2:4] = np.log(size[positive] / anchors[positive, 2:]) / 0.2
    outputs = as_outputs(raw.astype(np.float32), width, height)
    found = make_decoder(ssd_card(width, height, ("a", "b", "c")), outputs).decode(outputs, 0.5)
    assert len(found.boxes) == positive.sum()
    assert {answering(targets.astype(np.float32), box) > 0 for box in boxes} == {True}
    nearest = np.abs(found.boxes[:, None] - boxes[None]).max(axis=2)
    assert nearest.min(axis=1).max() < 1e-3
    assert set(nearest.argmin(axis=1).tolist()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(class_ids[nearest.argmin(axis=1)], found.class_ids)


def test_anchors_are_the_ones_of_the_device() -> None:
    """Zero offsets give back every anchor, in order."""
    anchors = anchor_boxes(HEADS, 70, 100)
    outputs = as_outputs(np.zeros((len(anchors), 5), np.float32), 70, 100)
    found = make_decoder(ssd_card(70, 100, ("a",)), outputs).decode(outputs, 0.1)
    np.testing.assert_allclose(found.boxes, corners(anchors), atol=1e-4)
