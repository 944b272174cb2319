"""Learning from a network alone and beside labels: the losses against plain numpy, and a few steps of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from convert.importers import load_source
from convert.prune.choose import remove_share
from convert.prune.graph import Keep
from convert.prune.lineage import Lineage
from convert.prune.rank import rank
from convert.prune.surgery import remove
from convert.prune.tune import ByLabels
from convert.quantize.fold import fold_norms
from convert.recipe import Recipe
from convert.source import SourceModel
from convert.train.distil import AnswerLoss, Lesson, Pictures, distil, flat_heads
from convert.train.feed import Pool
from convert.train.hints import Hints, junctions
from convert.train.loss import MultiboxLoss
from convert.train.recipe import Stage
from convert.train.small import SmallTrainee
from convert.train.targets import anchor_boxes
from convert.train.teacher import Distilled, Teacher, resized_model
from convert.train.trainer import Training, train
from convert.trained import random_network
from runtime.errors import RunError
from runtime.sources.images import list_images
from tests.conftest import picture
from tests.convert.small_nets import pictures, randomise, run
from tests.convert.test_train_feed import LABELS, dataset
from tests.convert.test_trainer import PLAN, RECIPE, tiny
from tests.nets import DarknetWriter

KINDS = {"yolo": (True, False, 8), "ssd sigmoid": (False, False, 7), "ssd softmax": (False, True, 8)}
kinds = pytest.mark.parametrize("kind", KINDS)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def divergence(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Kullback and Leibler's, of yes-or-no probabilities."""
    return np.asarray(wanted * np.log(wanted / found) + (1 - wanted) * np.log((1 - wanted) / (1 - found)))


def softmax(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(values) / np.exp(values).sum(-1, keepdims=True))


def huber(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(np.abs(values) < 1, 0.5 * values**2, np.abs(values) - 0.5))


def by_hand(taught: np.ndarray, asked: np.ndarray, kind: str) -> float:
    """Divergence of every answer: classes where something is, boxes as much as something is."""
    objectness, is_softmax, _ = KINDS[kind]
    first = 5 if objectness else 4
    total = 0.0
    if is_softmax:
        wanted, found = softmax(taught[..., first:]), softmax(asked[..., first:])
        seen = 1 - wanted[..., 0]
        total += (wanted * np.log(wanted / found)).sum()
    else:
        wanted, found = sigmoid(taught[..., first:]), sigmoid(asked[..., first:])
        seen = sigmoid(taught[..., 4]) if objectness else wanted.max(-1)
        apart = divergence(wanted, found).sum(-1)
        total += (apart * seen if objectness else apart).sum()
    if objectness:
        total += divergence(seen, sigmoid(asked[..., 4])).sum()
    total += (seen * huber(asked[..., :4] - taught[..., :4]).sum(-1)).sum()
    return float(total / max(seen.sum(), 1))


def answers(kind: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (2, 30, KINDS[kind][2]))


@kinds
@pytest.mark.parametrize("shift", [0.0, -12.0])
def test_answers_by_hand(kind: str, shift: float) -> None:
    """Also where the teacher sees next to nothing and the sum is divided by 1."""
    objectness, is_softmax, _ = KINDS[kind]
    taught, asked = answers(kind, 1), answers(kind, 2)
    taught[..., 4 if not is_softmax else 5 :] += shift
    loss = AnswerLoss(objectness, is_softmax)
    found = loss(tf.constant(taught, tf.float32), tf.constant(asked, tf.float32))
    assert float(found) == pytest.approx(by_hand(taught, asked, kind), rel=1e-3)


@kinds
def test_same_answers_have_nothing_to_learn(kind: str) -> None:
    objectness, is_softmax, _ = KINDS[kind]
    taught = tf.constant(answers(kind, 1), tf.float32)
    asked = tf.Variable(taught)
    with tf.GradientTape() as tape:
        loss = AnswerLoss(objectness, is_softmax)(taught, asked)
    assert float(loss) == pytest.approx(0, abs=1e-6)
    assert np.abs(np.asarray(tape.gradient(loss, asked))).max() < 1e-6


@kinds
def test_downhill_leads_to_the_teacher(kind: str) -> None:
    objectness, is_softmax, _ = KINDS[kind]
    taught, asked = answers(kind, 1), tf.Variable(answers(kind, 2).astype(np.float32))
    values = []
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = AnswerLoss(objectness, is_softmax)(tf.constant(taught, tf.float32), asked)
        values.append(float(loss))
        asked.assign_sub(3.0 * tape.gradient(loss, asked))
    assert values[-1] < 0.2 * values[0]
    assert min(values) >= 0


def halved(source: SourceModel, seed: int = 1) -> SourceModel:
    """The detector with fewer channels, by chance."""
    lineage, keep = _chosen(source, seed)
    return dataclasses.replace(source, model=remove(lineage.graph, keep))


def kept(seed: int, source: SourceModel) -> dict[str, np.ndarray]:
    """What :func:`halved` leaves, by layer."""
    lineage, keep = _chosen(source, seed)
    return lineage.channels(keep)


def _chosen(source: SourceModel, seed: int) -> tuple[Lineage, Keep]:
    lineage = Lineage(source.model)
    return lineage, remove_share(lineage.graph, rank(lineage.graph, "random", seed=seed), 0.3, "layer", 2)


def distance(one: keras.Model, other: keras.Model, images: np.ndarray) -> float:
    pairs = zip(run(one, images), run(other, images), strict=True)
    return float(np.mean([((a - b) ** 2).mean() / b.var() for a, b in pairs]))


def as_inputs(source: SourceModel) -> np.ndarray:
    return pictures(8, source.input.height, source.input.width, seed=9)


@pytest.fixture
def yolo(tiny_cfg: Path) -> SourceModel:
    source = load_source(tiny_cfg)
    return dataclasses.replace(source, model=fold_norms(source.model))


def test_heads_side_by_side(yolo: SourceModel) -> None:
    images = as_inputs(yolo)
    whole = flat_heads(yolo, yolo.model).predict_on_batch(images)
    expected = [head.reshape(len(images), -1, 8) for head in run(yolo.model, images)]
    np.testing.assert_array_equal(whole, np.concatenate(expected, axis=1))


@pytest.fixture
def ssd(monkeypatch: pytest.MonkeyPatch) -> SourceModel:
    monkeypatch.setattr("convert.trained.network", tiny)
    source = random_network(RECIPE)
    randomise(source.model, 3)
    return source


def test_box_and_class_heads_side_by_side(ssd: SourceModel) -> None:
    images = as_inputs(ssd)
    boxes, classes = run(ssd.model, images)
    expected = np.concatenate([boxes.reshape(8, -1, 4), classes.reshape(8, -1, 2)], axis=2)
    np.testing.assert_array_equal(flat_heads(ssd, ssd.model).predict_on_batch(images), expected)


def lesson(steps: int, **changes: Any) -> Lesson:
    return Lesson(steps, 3e-3, 4, 0.8, **changes)


def test_student_gets_nearer_to_its_teacher(yolo: SourceModel, photos: Path) -> None:
    student = halved(yolo)
    images = np.stack([_input(path, yolo) for path in list_images(photos)])
    before, teacher = distance(student.model, yolo.model, images), yolo.model.get_weights()
    told: list[tuple[int, int]] = []
    distil(student, yolo.model, Pictures(list_images(photos)), lesson(25), lambda *at: told.append(at))
    assert distance(student.model, yolo.model, images) < 0.8 * before
    assert told == [(step + 1, 25) for step in range(25)]
    assert all(map(np.array_equal, teacher, yolo.model.get_weights()))


def test_junctions_are_read_more_than_once(yolo: SourceModel) -> None:
    """A shortcut's source and a route's; the layer before the first head is read by the route and the head."""
    names = junctions(yolo.model)
    readers = dict.fromkeys(names, 0)
    for layer in yolo.model.layers:
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        for tensor in sources if not isinstance(layer, keras.layers.InputLayer) else []:
            if tensor._keras_history.operation.name in readers:
                readers[tensor._keras_history.operation.name] += 1
    assert len(names) >= 2
    assert all(count > 1 for count in readers.values())
    assert "image" not in names


def test_hints_by_hand(yolo: SourceModel) -> None:
    """The difference at the channels that are left, in units of their variance."""
    student, channels, images = halved(yolo), kept(1, yolo), as_inputs(yolo)
    hints = Hints(student.model, yolo.model, channels)
    assert len(hints) == len(junctions(student.model))
    asked = hints.asked(flat_heads(student, student.model)).predict_on_batch(images)
    taught = hints.taught(flat_heads(yolo, yolo.model)).predict_on_batch(images)
    np.testing.assert_array_equal(taught[0], flat_heads(yolo, yolo.model).predict_on_batch(images))
    for name, one, other, loss in zip(
        junctions(student.model), asked[1:], taught[1:], hints.losses(images), strict=True
    ):
        probe = keras.Model(yolo.model.inputs, yolo.model.get_layer(name).output)
        np.testing.assert_array_equal(other, probe.predict_on_batch(images)[..., channels[name]])
        assert one.shape == other.shape
        assert float(loss(other, one)) == pytest.approx(((one - other) ** 2).mean() / other.var(), rel=1e-4)
        assert float(loss(other, other)) == 0


def test_hints_bring_inner_tensors_nearer(yolo: SourceModel, photos: Path) -> None:
    """With the answers' share made small, the tensors inside are what is learnt."""
    images, channels = np.stack([_input(path, yolo) for path in list_images(photos)]), kept(1, yolo)

    def apart(hints: float) -> float:
        student = halved(yolo)
        distil(student, yolo.model, Pictures(list_images(photos)), lesson(25, hints=hints), channels=channels)
        pairs = Hints(student.model, yolo.model, channels)
        asked = pairs.asked(flat_heads(student, student.model)).predict_on_batch(images)[1:]
        taught = pairs.taught(flat_heads(yolo, yolo.model)).predict_on_batch(images)[1:]
        return float(np.mean([((a - b) ** 2).mean() / b.var() for a, b in zip(asked, taught, strict=True)]))

    assert apart(1000.0) < 0.9 * apart(0.0)


def _input(path: Path, source: SourceModel) -> np.ndarray:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    pixels = cv2.resize(pixels, (source.input.width, source.input.height))[..., ::-1]
    return np.asarray(pixels * source.input.scale[0] + source.input.offset[0], np.float32)


def test_oblong_input(photos: Path, tmp_path: Path) -> None:
    """Darknet's nets need not be square."""
    net = DarknetWriter(96, 64)
    net.conv(16, 3, stride=4)
    net.conv(16, 3, stride=4)
    net.yolo(3, "0,1,2")
    source = load_source(net.write(tmp_path, "oblong"))
    assert source.model.inputs[0].shape[1:3] == (64, 96)
    source = dataclasses.replace(source, model=fold_norms(source.model))
    student = halved(source)
    before = distance(student.model, source.model, as_inputs(source))
    distil(student, source.model, Pictures(list_images(photos)), lesson(10))
    assert distance(student.model, source.model, as_inputs(source)) < before


def test_same_seed_same_student(ssd: SourceModel, photos: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        student = halved(ssd)
        distil(student, ssd.model, Pictures(list_images(photos)), lesson(2, seed=seed))
        found.append(student.model.get_weights())
    assert all(map(np.array_equal, found[0], found[1]))
    assert not all(map(np.array_equal, found[0], found[2]))


def test_loss_that_is_no_number(ssd: SourceModel, photos: Path) -> None:
    student = halved(ssd)
    student.model.set_weights([weight + np.nan for weight in student.model.get_weights()])
    with pytest.raises(RunError, match="the loss is nan at step 0"):
        distil(student, ssd.model, Pictures(list_images(photos)), lesson(3))


def test_pictures_have_no_labels(photos: Path) -> None:
    found = Pictures(list_images(photos))
    assert len(found) == 8
    example = found[3]
    assert example.boxes.shape == (0, 4)
    assert np.abs(example.pixels.astype(int) - picture(3)).mean() < 10


def test_teacher_beside_the_labels(ssd: SourceModel) -> None:
    images, targets = as_inputs(ssd), np.random.default_rng(1).normal(0, 1, (8, 32, 5)).astype(np.float32)
    found = Teacher(ssd.model).beside(images, targets)
    assert found.shape == (8, 32, 5 + 4 + 2)
    np.testing.assert_array_equal(found[..., :5], targets)
    np.testing.assert_allclose(
        found[..., 5:], flat_heads(ssd, ssd.model).predict_on_batch(images), rtol=1e-4, atol=1e-5
    )
    # At another size it is the same network, and its anchors must be as many as the labels'.
    smaller = Teacher(ssd.model).beside(pictures(2, 32, 32), targets[:2, :8])
    assert smaller.shape == (2, 8, 11)
    with pytest.raises(ValueError, match="the teacher has 8 anchors at 32 pixels, the labels 9"):
        Teacher(ssd.model).beside(pictures(2, 32, 32), targets[:2, :9])


def test_labels_and_teacher_by_hand(ssd: SourceModel) -> None:
    anchors = anchor_boxes(ssd.decoder.heads, 64, 64)
    plain = MultiboxLoss(anchors, ssd.decoder.variances)
    random = np.random.default_rng(2)
    labels = np.concatenate([anchors[None], random.integers(-1, 2, (1, len(anchors), 1))], axis=2)
    labels[..., 2:4] += labels[..., :2]
    taught, asked = random.normal(0, 1, (2, 1, len(anchors), 6))
    targets = tf.constant(np.concatenate([labels, taught], axis=2), tf.float32)
    alone = float(plain(targets[..., :5], tf.constant(asked, tf.float32)))
    wanted, found = sigmoid(taught[..., 4:]), sigmoid(asked[..., 4:])
    entropy = -(wanted * np.log(found) + (1 - wanted) * np.log(1 - found))
    classes = ((wanted - found) ** 2 * entropy).sum()
    boxes = (wanted.max(-1) * np.abs(asked[..., :4] - taught[..., :4]).sum(-1)).sum()
    for weight in (0.0, 1.0, 2.5):
        value = float(Distilled(plain, weight)(targets, tf.constant(asked, tf.float32)))
        assert value == pytest.approx(alone + weight * (classes + boxes) / wanted.max(-1).sum(), rel=1e-4)
    same = float(Distilled(plain, 1.0)(targets, targets[..., 5:]))
    assert same == pytest.approx(float(plain(targets[..., :5], targets[..., 5:])), rel=1e-5)


def test_other_size_same_weights(ssd: SourceModel) -> None:
    other = resized_model(ssd.model, 32)
    assert other.inputs[0].shape == (None, 32, 32, 3)
    assert all(map(np.array_equal, other.get_weights(), ssd.model.get_weights()))


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, ...]:
    folder = tmp_path_factory.mktemp("pools")
    return tuple(Pool(dataset(folder / name, 2), LABELS) for name in "ab")


def two_steps() -> Recipe:
    return dataclasses.replace(RECIPE, train=dataclasses.replace(PLAN, stages=(Stage(64, 2),), warmup=1))


Trained = Callable[[SmallTrainee], tuple[SourceModel, Any]]


@pytest.mark.parametrize("taught", [False, True])
def test_trainer_takes_a_small_network(taught: bool, ssd: SourceModel, pools: tuple[Pool, ...], tmp_path: Path) -> None:
    small = halved(ssd)
    before = small.model.get_weights()
    trainee = SmallTrainee(small.model, ssd.model if taught else None, 1.0)
    losses: list[float] = []

    def progress(state: Any, loss: float, rate: float) -> None:
        losses.append(loss)

    training = Training(two_steps(), pools, tmp_path / "state.npz", lambda source: {"AP50": 1.0}, progress, trainee)
    source, state = train(training)
    assert state.step == len(losses) == 2
    assert np.isfinite(losses).all()
    after = source.model.get_weights()
    assert [each.shape for each in after] == [each.shape for each in before]
    assert not all(map(np.array_equal, after, before))
    # What it started from stays as it was.
    assert all(map(np.array_equal, before, small.model.get_weights()))


def test_trainees_are_told_apart(ssd: SourceModel) -> None:
    keys = {
        SmallTrainee(model, None, weight).key
        for model, weight in ((ssd.model, 1.0), (halved(ssd).model, 1.0), (halved(ssd, 2).model, 1.0), (ssd.model, 0.5))
    }
    assert len(keys) == 4
    assert SmallTrainee(ssd.model, None, 1.0).key in keys


def test_trainees_with_other_teachers_are_told_apart(ssd: SourceModel) -> None:
    """A checkpoint made with one teacher is not gone on with under another."""
    small, other = halved(ssd).model, keras.models.clone_model(ssd.model)
    other.set_weights(ssd.model.get_weights())
    same = SmallTrainee(small, other, 1.0).key
    assert same == SmallTrainee(small, ssd.model, 1.0).key
    randomise(other, 4)
    keys = {SmallTrainee(small, teacher, 1.0).key for teacher in (None, ssd.model, other)}
    assert len(keys) == 3
    assert same in keys


def test_checkpoint_of_another_teacher_is_not_taken_up(
    ssd: SourceModel, pools: tuple[Pool, ...], tmp_path: Path
) -> None:
    small, other = halved(ssd).model, randomise(keras.models.clone_model(ssd.model), 4)
    steps: list[int] = []

    def progress(state: Any, loss: float, rate: float) -> None:
        steps.append(state.step)

    for teacher in (ssd.model, ssd.model, other):
        trainee = SmallTrainee(small, teacher, 1.0)
        train(Training(two_steps(), pools, tmp_path / "state.npz", lambda source: {}, progress, trainee))
    # The second finds a finished training, the third starts anew.
    assert steps == [1, 2, 1, 2]


def test_tuned_by_labels(ssd: SourceModel, pools: tuple[Pool, ...], tmp_path: Path) -> None:
    small = halved(ssd).model
    tuner = ByLabels(two_steps(), pools, ssd.model, 1e-3, 1.0, 1, tmp_path)
    assert tuner.tune(small, {}, 0, {}) is small
    tuned = tuner.tune(small, {}, 2, {})
    assert [layer.name for layer in tuned.layers] == [layer.name for layer in small.layers]
    assert [w.shape for w in tuned.get_weights()] == [w.shape for w in small.get_weights()]
    assert 0 < distance(tuned, small, as_inputs(ssd)) < 0.5
    assert list(tmp_path.iterdir()) == []
