"""The training loop on a network of three layers: stages, checkpoints, and going on after a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import convert.train.trainer as module
from convert.recipe import NetworkRecipe, Recipe, TrainedRecipe
from convert.source import SourceModel
from convert.train.augment import Augmentation
from convert.train.checkpoint import State
from convert.train.feed import Pool
from convert.train.recipe import FolderRecipe, Stage, TrainRecipe
from convert.train.trainee import FloatTrainee
from convert.train.trainer import Training, train
from convert.train.weights import save_weights
from runtime.card import HeadSpec
from runtime.errors import InputError, RunError
from tests.convert.test_train_feed import LABELS, dataset

PLAN = TrainRecipe(
    data=(FolderRecipe("a"), FolderRecipe("b", 0.5)),
    stages=(Stage(32, 4), Stage(64, 4, (0.0, 1.0))),
    batch=2,
    learning_rate=0.02,
    warmup=2,
    report_every=3,
    average=0.9,
    augmentation=Augmentation(mosaic=0.5),
)
NETWORK = NetworkRecipe("ssd-mobilenetv2", 64, heads=(HeadSpec(16, ((16.0, 20.0), (30.0, 24.0))),))
RECIPE = Recipe(
    name="made",
    title="Made",
    task="detect",
    licence="MIT",
    homepage="",
    source=TrainedRecipe("trained", "made.npz", LABELS, NETWORK),
    calibration=FolderRecipe("a"),
    train=PLAN,
)


class KilledError(Exception):
    pass


def tiny(recipe: NetworkRecipe, classes: int, size: int) -> tuple[keras.Model, tuple[HeadSpec, ...]]:
    """Stands in for a detector: one scale at stride 16, and every kind of variable."""
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Conv2D(8, 5, 4, padding="same", use_bias=False, name="stem")(image)
    x = keras.layers.ReLU(6.0, name="relu")(keras.layers.BatchNormalization(momentum=0.9, name="norm")(x))
    x = keras.layers.DepthwiseConv2D(5, 4, padding="same", name="depthwise")(x)
    outputs = [keras.layers.Conv2D(2 * n, 1, name=f"{kind}_16")(x) for kind, n in (("box", 4), ("class", classes))]
    return keras.Model(image, outputs), recipe.heads


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convert.trained.network", tiny)
    monkeypatch.setattr(module, "_SAVE_EVERY_S", -1.0)


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, ...]:
    folder = tmp_path_factory.mktemp("pools")
    return tuple(Pool(dataset(folder / name, count), LABELS) for name, count in (("a", 3), ("b", 2)))


def ignore(state: State, loss: float, rate: float) -> None:
    pass


def make(pools: tuple[Pool, ...], folder: Path, **changes: Any) -> Training:
    recipe = replace(RECIPE, train=replace(PLAN, **changes))
    return Training(recipe, pools, folder / "state.npz", lambda source: {"AP50": 1.0}, ignore)


def killer(at: int) -> Callable[[State, float, float], None]:
    def progress(state: State, loss: float, rate: float) -> None:
        if state.step == at:
            raise KilledError

    return progress


def assert_same(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_killed_training_goes_on_as_if_nothing_had_happened(pools: tuple[Pool, ...], tmp_path: Path) -> None:
    """Killed in the first stage, right after it, and in the second; then done."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, state = train(make(pools, tmp_path / "a"))
    assert (state.step, [entry["step"] for entry in state.log]) == (8, [3, 6, 8])
    assert [entry["size"] for entry in state.log] == [32, 64, 64]
    training = make(pools, tmp_path / "b")
    for at in (3, 5, 7):
        with pytest.raises(KilledError):
            train(replace(training, progress=killer(at)))
    parts, resumed = train(training)
    assert resumed.step == 8
    assert_same(resumed.weights, state.weights)
    assert_same(resumed.averages, state.averages)
    assert_same(resumed.optimizer, state.optimizer)
    assert_same(parts.model.get_weights(), whole.model.get_weights())
    assert [entry["step"] for entry in resumed.log] == [3, 6, 8]

    # What comes out is the average at the recipe's own size, with Keras's own layers.
    assert_same(whole.model.get_weights(), state.averages)
    assert whole.model.inputs[0].shape == (None, 64, 64, 3)
    assert type(whole.model.get_layer("norm")) is keras.layers.BatchNormalization
    assert (whole.input.width, whole.labels.names, whole.decoder.activation) == (64, LABELS, "sigmoid")
    assert not all(map(np.array_equal, state.averages, state.weights))

    # Done is done: nothing is trained again.
    again, unchanged = train(replace(training, progress=killer(8)))
    assert unchanged.step == 8
    assert_same(again.model.get_weights(), parts.model.get_weights())


def test_another_plan_starts_over(pools: tuple[Pool, ...], tmp_path: Path) -> None:
    short = (Stage(32, 1),)
    _, first = train(make(pools, tmp_path, stages=short))
    _, other = train(make(pools, tmp_path, stages=short, seed=2))
    assert not all(map(np.array_equal, first.weights, other.weights))
    (tmp_path / "state.npz").write_bytes(b"damaged")
    with pytest.raises(InputError, match="is not a checkpoint"):
        train(make(pools, tmp_path, stages=short))


def test_corrected_labels_start_over(pools: tuple[Pool, ...], tmp_path: Path) -> None:
    """As many pictures as before, and one box or one class is another."""
    short = (Stage(32, 1),)
    _, first = train(make(pools, tmp_path, stages=short))
    data = dataset(tmp_path / "a", 3)
    boxes, class_ids = data.truths[1].boxes.copy(), data.truths[1].class_ids.copy()
    boxes[0, 0], class_ids[1] = 0.3, 1
    for change in ({"boxes": boxes}, {"class_ids": class_ids}):
        truths = (data.truths[0], replace(data.truths[1], **change), data.truths[2])
        corrected = (Pool(replace(data, truths=truths), LABELS), pools[1])
        with pytest.raises(KilledError):
            train(replace(make(corrected, tmp_path, stages=short), progress=killer(1)))
    # The same pictures, read again, are not other ones.
    same = (Pool(data, LABELS), pools[1])
    _, again = train(replace(make(same, tmp_path, stages=short), progress=killer(1)))
    assert_same(again.weights, first.weights)


def test_training_learns(pools: tuple[Pool, ...], tmp_path: Path) -> None:
    losses = []

    def progress(state: State, loss: float, rate: float) -> None:
        losses.append(loss)

    plain = Augmentation((1.0, 1.0), 1.0, 0.0, False, False, 0.0, 0.0, 0.0, 0.0)
    training = make(pools, tmp_path, stages=(Stage(64, 60),), augmentation=plain, class_loss="hard-negative")
    source, _ = train(replace(training, progress=progress))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    assert source.labels.names == ("background", *LABELS)
    assert source.decoder.activation == "softmax"


def test_start_weights_are_adopted(pools: tuple[Pool, ...], tmp_path: Path) -> None:
    keras.utils.set_random_seed(9)
    start, _ = tiny(NETWORK, 5, 64)
    save_weights(tmp_path / "start.npz", start)
    seen: list[Any] = []

    def measure(source: SourceModel) -> dict[str, float]:
        seen.append(source.model)
        return {}

    # Nothing moves at a rate of zero, but for the running statistics.
    training = make(pools, tmp_path, stages=(Stage(32, 1),), learning_rate=0.0)
    train(replace(training, trainee=FloatTrainee(tmp_path / "start.npz"), measure=measure))
    for name in ("stem", "depthwise", "box_16"):
        assert_same(seen[0].get_layer(name).get_weights(), start.get_layer(name).get_weights())
    # Other classes, other weights.
    assert seen[0].get_layer("class_16").get_weights()[0].shape[-1] == 2 * 2


def test_loss_that_is_no_number(pools: tuple[Pool, ...], tmp_path: Path) -> None:
    keras.utils.set_random_seed(9)
    start, _ = tiny(NETWORK, 2, 64)
    start.set_weights([np.full(weight.shape, np.nan) for weight in start.get_weights()])
    save_weights(tmp_path / "start.npz", start)
    training = replace(make(pools, tmp_path), trainee=FloatTrainee(tmp_path / "start.npz"))
    with pytest.raises(RunError, match=r"the loss is nan at step 0; expected a number; lower train\.learning_rate"):
        train(training)
    assert not training.checkpoint.exists()
