"""Quantisation-aware training: the network it trains, what it exports, and that it pays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import convert.train.trainer as trainer
from convert.quantize.fold import fold_norms
from convert.quantize.heads import SplitModel
from convert.quantize.qat import finished, starting_point
from convert.quantize.tensors import Range, plan_tensors
from convert.quantize.tflite import to_tflite
from convert.recipe import Recipe
from convert.train.augment import Augmentation
from convert.train.checkpoint import load_state
from convert.train.feed import Pool
from convert.train.qat import Int8Trainee, qat_recipe
from convert.train.qat_network import freeze_ranges, get_ranges, moving_ranges, qat_network, set_ranges
from convert.train.recipe import QatRecipe, Stage
from convert.train.teacher import Distilled
from convert.train.trainer import Training, train
from runtime.card import OutputBinding
from tests.convert.test_train_feed import LABELS, dataset
from tests.convert.test_trainer import PLAN, RECIPE, KilledError, assert_same, ignore, killer, tiny

PIXELS = (-1.0, 1.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convert.trained.network", tiny)
    monkeypatch.setattr(trainer, "_SAVE_EVERY_S", -1.0)


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, ...]:
    folder = tmp_path_factory.mktemp("pools")
    return tuple(Pool(dataset(folder / name, count), LABELS) for name, count in (("a", 3), ("b", 2)))


def network() -> keras.Model:
    """Everything that matters to int8: strides, depthwise, a sum, a concatenation, norms, an end without activation."""
    keras.utils.set_random_seed(4)
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Conv2D(8, 3, 2, padding="same", use_bias=False, name="stem")(image)
    x = keras.layers.ReLU(6.0, name="stem_relu")(keras.layers.BatchNormalization(name="stem_norm")(x))
    y = keras.layers.DepthwiseConv2D(3, padding="same", name="deep")(x)
    y = keras.layers.LeakyReLU(0.1, name="leaky")(y)
    y = keras.layers.Conv2D(8, 1, name="point")(y)
    total = keras.layers.Add(name="add")([x, y])
    both = keras.layers.Concatenate(name="both")([total, y])
    outputs = [keras.layers.Conv2D(n, 1, name=name)(both) for name, n in (("box", 4), ("class", 3))]
    model = keras.Model(image, outputs)
    random = np.random.default_rng(4)
    norm = model.get_layer("stem_norm")
    norm.set_weights([random.uniform(0.2, 3, 8), random.normal(0, 1, 8), random.normal(0, 1, 8), np.full(8, 0.5)])
    return model


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(count).uniform(-1, 1, (count, size, size, 3)).astype(np.float32)


def assert_ranges(found: Mapping[str, Range], wanted: Mapping[str, Range], rel: float = 1e-5) -> None:
    assert set(found) == set(wanted)
    assert [found[group] for group in wanted] == [pytest.approx(ends, rel=rel) for ends in wanted.values()]


def run(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(output) for output in model(images, training=False)]


def test_network_rounds_what_the_plan_names_and_nothing_else() -> None:
    exact = fold_norms(network())
    plan = plan_tensors(exact)
    rounding = qat_network(exact, plan)
    ranges = moving_ranges(rounding)
    assert set(ranges) == set(plan.members())
    assert {group: layer.members for group, layer in ranges.items()} == {g: len(p) for g, p in plan.members().items()}
    # A concatenation's tensors share one range: the only group of two here.
    assert sorted(layer.members for layer in ranges.values())[-2:] == [1, 2]
    assert [group for group, layer in ranges.items() if layer.fixed] == ["image"]
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in rounding.layers)
    # The float weights are all there, and all that learns.
    assert sum(weight.trainable for weight in rounding.weights) == len(exact.weights)


def test_network_of_another_size_has_the_same_weights() -> None:
    exact = fold_norms(network())
    larger = qat_network(exact, plan_tensors(exact), size=64)
    assert larger.inputs[0].shape == (None, 64, 64, 3)
    for layer in exact.layers:
        assert_same(larger.get_layer(layer.name).get_weights(), layer.get_weights())


def test_simulation_while_training_is_that_of_the_export() -> None:
    """Three ways to the same numbers: the training's layers, fake-quant nodes, and the int8 file."""
    start = starting_point(network(), PIXELS, pictures(8))
    rounding = qat_network(start.exact, start.plan)
    set_ranges(rounding, start.ranges)
    done = finished(rounding, start.exact, start.plan)
    assert_ranges(done.ranges, start.ranges)
    images = pictures(4)
    trained, simulated = run(rounding, images), run(done.simulation(), images)
    bindings = (OutputBinding("box", "box", 0), OutputBinding("class", "class", 0))
    device = _on_device(to_tflite(SplitModel(done.simulation(), bindings), "image"), images, PIXELS)
    for at, name in enumerate(("box", "class")):
        low, high = done.ranges[done.plan.group[name]]
        step = (high - low) / 255
        # A value that lies halfway between two steps may go either way, at every layer.
        for other in (simulated[at], device[name]):
            apart = np.abs(trained[at] - other) / step
            assert np.quantile(apart, 0.995) < 2.01
            assert apart.mean() < 0.2
        assert np.ptp(trained[at]) > 100 * step


def _on_device(data: bytes, images: np.ndarray, pixels: tuple[float, float]) -> dict[str, np.ndarray]:
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    results: dict[str, list[np.ndarray]] = {}
    for image in images:
        scale, zero = entry["quantization"]
        interpreter.set_tensor(entry["index"], np.clip(np.round(image[None] / scale) + zero, -128, 127).astype(np.int8))
        interpreter.invoke()
        for out in interpreter.get_output_details():
            scale, zero = out["quantization"]
            values = (interpreter.get_tensor(out["index"]).astype(np.float32) - zero) * scale
            results.setdefault(out["name"], []).append(values)
    return {name: np.concatenate(values) for name, values in results.items()}


def test_finished_weights_are_on_their_steps() -> None:
    exact = fold_norms(network())
    rounding = qat_network(exact, plan_tensors(exact), per_tensor=True)
    done = finished(rounding, exact, plan_tensors(exact), per_tensor=True)
    for layer in (done.model.get_layer(name) for name in ("stem", "deep", "box")):
        kernel = layer.get_weights()[0].astype(np.float64)
        steps = kernel / np.abs(kernel).max() * 127
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert_same(done.exact.get_weights(), exact.get_weights())


def test_frozen_ranges_stay() -> None:
    exact = fold_norms(network())
    rounding = qat_network(exact, plan_tensors(exact))
    set_ranges(rounding, {"image": PIXELS})
    rounding(pictures(2), training=True)
    before = get_ranges(rounding)
    assert before["image"] == PIXELS
    assert all(low <= 0 <= high and low < high for low, high in before.values())
    freeze_ranges(rounding, frozen=True)
    rounding(3 * pictures(2), training=True)
    assert get_ranges(rounding) == before
    freeze_ranges(rounding, frozen=False)
    rounding(3 * pictures(2), training=True)
    after = get_ranges(rounding)
    # The range of a ReLU6 was full already.
    assert {group for group in after if after[group] == before[group]} == {"image", "stem_relu"}


def recipe(**changes: Any) -> Recipe:
    qat = QatRecipe(**{"steps": 6, "warmup": 2, "learning_rate": 0.01, "report_every": 3, **changes})
    return qat_recipe(dataclasses.replace(RECIPE, qat=qat))


def trainee(plan: Recipe, factor: float = 1.0) -> Int8Trainee:
    """A tiny network, one channel of whose depthwise weights is ``factor`` times as large: the same function."""
    keras.utils.set_random_seed(9)
    model, _ = tiny(RECIPE.source.network, 2, 64)  # type: ignore[union-attr]
    factors = np.where(np.arange(8) == 0, factor, 1.0)
    for name, scale in (
        ("depthwise", factors[:, None]),
        ("box_16", 1 / factors[:, None]),
        ("class_16", 1 / factors[:, None]),
    ):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel * scale, bias])
    qat, steps = plan.qat, plan.train
    assert qat is not None
    assert steps is not None
    per_tensor = qat.weights == "per-tensor"
    start = starting_point(
        model, PIXELS, pictures(4, 64), qat.equalise, per_tensor, lambda title: lambda done, of: None
    )
    return Int8Trainee(qat, start.exact, start.plan, start.ranges, round(qat.freeze_after * steps.steps))


def make(pools: tuple[Pool, ...], folder: Path, progress: Callable[..., None] = ignore, **changes: Any) -> Training:
    folder.mkdir(exist_ok=True)
    plan = recipe(**changes)
    return Training(plan, pools, folder / "state.npz", lambda source: {"AP50": 1.0}, progress, trainee(plan))


def test_section_takes_the_place_of_the_training() -> None:
    plan = recipe(size=32, mosaic=0.2).train
    assert plan is not None
    assert plan.stages == (Stage(32, 6, (0.0, 1.0), 0.2),)
    assert (plan.learning_rate, plan.weight_decay, plan.start, plan.batch) == (0.01, 0.0, None, PLAN.batch)
    default = qat_recipe(RECIPE)
    assert default.qat == QatRecipe()
    assert default.train is not None
    assert default.train.stages == (Stage(64, 300, (0.0, 1.0), 0.0),)


@pytest.mark.parametrize("distil", [0.0, 1.0])
def test_killed_training_goes_on(pools: tuple[Pool, ...], tmp_path: Path, distil: float) -> None:
    whole, state = train(make(pools, tmp_path / "a", distil=distil))
    for at in (2, 5):
        with pytest.raises(KilledError):
            train(make(pools, tmp_path / "b", killer(at), distil=distil))
        stopped = load_state(tmp_path / "b" / "state.npz", make(pools, tmp_path / "b", distil=distil).key)
        assert stopped is not None
        assert stopped.step == at - 1
    parts, resumed = train(make(pools, tmp_path / "b", distil=distil))
    assert_same(resumed.weights, state.weights)
    assert_same(parts.model.get_weights(), whole.model.get_weights())
    assert_ranges(get_ranges(parts.model), get_ranges(whole.model), 1e-4)


@pytest.mark.parametrize(("share", "moved"), [(0.0, False), (0.5, True)])
def test_ranges_move_until_their_share_of_the_steps(
    pools: tuple[Pool, ...], tmp_path: Path, share: float, moved: bool
) -> None:
    training = make(pools, tmp_path / "a", freeze_after=share)
    source, state = train(training)
    begun = training.trainee.ranges  # type: ignore[attr-defined]
    ended = get_ranges(source.model)
    assert ended["image"] == begun["image"]
    changed = [not np.allclose(ended[group], begun[group], rtol=1e-4) for group in begun if group != "image"]
    assert all(changed) if moved else not any(changed)
    layers = moving_ranges(source.model).values()
    assert [float(np.asarray(layer.moving)[0]) for layer in layers] == [0.0] * len(layers)
    # Ranges are those of the last step, kernels an average.
    at = [bool(weight.trainable) for weight in source.model.weights]
    for mine, newest, learns in zip(source.model.get_weights(), state.weights, at, strict=True):
        assert np.array_equal(mine, newest) is (not learns)


class _Nothing(keras.losses.Loss):  # type: ignore[misc]
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.sum(y_true) * 0 + keras.ops.sum(y_pred) * 0


class _Pupil(Int8Trainee):
    """Learns from the float network alone."""

    def loss(self, plain: keras.losses.Loss) -> keras.losses.Loss:
        return Distilled(_Nothing(), 1.0)


def test_training_wins_back_what_rounding_cost(pools: tuple[Pool, ...], tmp_path: Path) -> None:
    """With one scale for weights of which some are thirty times the others, most start with a handful of steps."""
    plain = Augmentation((1.0, 1.0), 1.0, 0.0, False, False, 0.0, 0.0, 0.0, 0.0)
    plan = recipe(weights="per-tensor", steps=150, learning_rate=0.003, average=0.9, distil=1.0, equalise=False)
    assert plan.train is not None
    plan = dataclasses.replace(plan, train=dataclasses.replace(plan.train, augmentation=plain))
    begin = _Pupil(**vars(trainee(plan, factor=100.0)))
    images = np.concatenate([pool[at].pixels[None] for pool in pools for at in range(len(pool))])
    images = np.stack([cv2.resize(image, (64, 64)) for image in images]).astype(np.float32) / 128 - 1
    wanted = run(begin.exact, images)

    def error(model: keras.Model) -> float:
        return float(sum(np.square(a - b).mean() for a, b in zip(run(model, images), wanted, strict=True)))

    before = error(begin.build(plan).model)
    trained, _ = train(Training(plan, pools, tmp_path / "state.npz", lambda source: {}, ignore, begin))
    done = finished(trained.model, begin.exact, begin.plan, per_tensor=True)
    assert error(done.simulation()) < 0.5 * before


def test_teacher_is_content_with_its_own_answers() -> None:
    random = np.random.default_rng(0)
    answers = random.normal(size=(2, 7, 4 + 3)).astype(np.float32)
    targets = np.concatenate([np.zeros((2, 7, 5), np.float32), answers], axis=-1)
    loss = Distilled(_Nothing(), 2.0)
    assert float(loss(targets, answers)) == pytest.approx(0, abs=1e-6)
    other = answers.copy()
    other[0, 3] += 1.0
    found = float(loss(targets, other))
    teacher, student = (1 / (1 + np.exp(-a[0, 3, 4:].astype(np.float64))) for a in (answers, other))
    entropy = -(teacher * np.log(student) + (1 - teacher) * np.log(1 - student))
    seen = 1 / (1 + np.exp(-answers[..., 4:].astype(np.float64).max(axis=-1)))
    wanted = 2 * ((np.square(teacher - student) * entropy).sum() + 4 * seen[0, 3]) / seen.sum()
    assert found == pytest.approx(wanted, rel=1e-4)
