"""Fused batch normalisation must be Keras's own in everything but speed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from convert.train.fused_norm import FusedBatchNormalization, fuse_norms

SHAPES = [(4, 6, 5, 8), (2, 1, 1, 3), (1, 7, 7, 16), (3, 2, 9, 1)]
OPTIONS = {"epsilon": 1e-3, "momentum": 0.9, "name": "norm"}
Pair = tuple[keras.layers.Layer, keras.layers.Layer]


def pair(shape: tuple[int, ...], seed: int = 0) -> Pair:
    """Keras's layer and ours, with the same weights."""
    random = np.random.default_rng(seed)
    layers = keras.layers.BatchNormalization(**OPTIONS), FusedBatchNormalization(**OPTIONS)
    weights = [random.uniform(0.5, 2, shape[-1]).astype(np.float32) for _ in range(4)]
    for layer in layers:
        layer.build(shape)
        layer.set_weights(weights)
    return layers


def numbers(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.5, 3, shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_training_step_equals_keras(shape: tuple[int, ...]) -> None:
    """Outputs, running statistics and all gradients, over several steps."""
    layers = pair(shape)
    for step in range(3):
        data, pull = numbers(shape, step), numbers(shape, 100 + step)
        outputs, slopes = [], []
        for layer in layers:
            x = tf.Variable(data)
            with tf.GradientTape() as tape:
                y = layer(x, training=True)
                value = tf.reduce_sum(y * pull) + tf.reduce_sum(y**2 * pull)
            outputs.append(np.asarray(y))
            slopes.append([np.asarray(g) for g in tape.gradient(value, [x, layer.gamma.value, layer.beta.value])])
        np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-4)
        for mine, theirs in zip(slopes[1], slopes[0], strict=True):
            scale = max(1.0, float(np.abs(theirs).max()))
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4 * scale)
        for mine, theirs in zip(layers[1].get_weights(), layers[0].get_weights(), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def test_running_statistics_by_hand() -> None:
    """The biased variance, as Keras averages it."""
    _, layer = pair((4, 6, 5, 8))
    _, _, mean, variance = layer.get_weights()
    data = numbers((4, 6, 5, 8)).astype(np.float64)
    layer(data.astype(np.float32), training=True)
    _, _, moved_mean, moved_variance = layer.get_weights()
    np.testing.assert_allclose(moved_mean, 0.9 * mean + 0.1 * data.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(moved_variance, 0.9 * variance + 0.1 * data.var((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_inference_and_frozen_layers_change_nothing(frozen: bool) -> None:
    layers = pair((2, 3, 4, 5))
    before = layers[1].get_weights()
    for layer in layers:
        layer.trainable = not frozen
    theirs, mine = (np.asarray(layer(numbers((2, 3, 4, 5)), training=frozen)) for layer in layers)
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    assert all(map(np.array_equal, before, layers[1].get_weights()))


def network() -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.97, name="bn")(x)
    x = keras.layers.ReLU(6.0, name="relu")(x)
    skip = keras.layers.Add(name="add")([x, keras.layers.BatchNormalization(name="bn2")(x)])
    return keras.Model(image, [skip, keras.layers.Conv2D(2, 1, name="head")(skip)], name="net")


def test_network_keeps_names_weights_and_outputs() -> None:
    model = network()
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    fused = fuse_norms(model)
    kinds = {type(layer) for layer in fused.layers if layer.name.startswith("bn")}
    assert kinds == {FusedBatchNormalization}
    assert {type(layer) for layer in model.layers if layer.name.startswith("bn")} == {keras.layers.BatchNormalization}
    assert [layer.name for layer in fused.layers] == [layer.name for layer in model.layers]
    assert [layer.get_config() for layer in fused.layers] == [layer.get_config() for layer in model.layers]
    assert [v.path for v in fused.weights] == [v.path for v in model.weights]
    data = numbers((2, 8, 8, 3))
    for mine, theirs in zip(fused(data, training=False), model(data, training=False), strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), rtol=1e-5, atol=1e-5)
    # What was trained goes back into the plain network.
    fused(data, training=True)
    assert not all(map(np.array_equal, fused.get_weights(), model.get_weights()))
    model.set_weights(fused.get_weights())
    for mine, theirs in zip(fused(data, training=False), model(data, training=False), strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), rtol=1e-5, atol=1e-5)


def test_training_whole_networks_alike() -> None:
    """Three steps of a compiled network, plain and fused, end in the same weights."""
    keras.utils.set_random_seed(3)
    plain = network()
    fused = fuse_norms(plain)
    random = np.random.default_rng(4)
    data, wanted = numbers((4, 8, 8, 3)), [random.normal(0, 1, (4, 6, 6, n)).astype(np.float32) for n in (4, 2)]
    for model in (plain, fused):
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss=["mse", "mse"], jit_compile=False)
        for _ in range(3):
            model.train_on_batch(data, wanted)
    for mine, theirs in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)


def test_other_backends_keep_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert fuse_norms(model) is model
