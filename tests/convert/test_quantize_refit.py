"""Refitting: numpy's least squares, no mean error left, and patches against a plain loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.quantize import refit as module
from convert.quantize.fake_quant import round_to
from convert.quantize.fold import fold_norms
from convert.quantize.observe import observe
from convert.quantize.patches import patches_at, places
from convert.quantize.ranges import choose_ranges
from convert.quantize.refit import refit
from convert.quantize.rounding import round_nearest
from convert.quantize.tensors import plan_tensors
from tests.convert.small_nets import by_name, conv, decibels, make, pictures, relu, run

layers = keras.layers


@pytest.fixture
def no_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RIDGE", 1e-12)
    monkeypatch.setattr(module, "_LEAST_VARIANCE", 0.0)
    monkeypatch.setattr(module, "round_weights", lambda weights, moments: weights)


def fitted(model: keras.Model, images: np.ndarray, input_range: tuple[float, float] = (0.0, 1.0)) -> Any:
    """The network, refitted in place, and its ranges."""
    plan = plan_tensors(model)
    ranges = choose_ranges(model, plan, observe(model, plan.inner, images), "min-max")
    ranges["image"] = input_range
    refit(model, plan, ranges, images)
    return ranges


GEOMETRY = [
    ((3, 3), (1, 1), (1, 1), "same"),
    ((3, 3), (2, 2), (1, 1), "same"),
    ((3, 5), (2, 1), (1, 1), "valid"),
    ((2, 2), (2, 2), (1, 1), "same"),
    ((1, 1), (3, 3), (1, 1), "valid"),
    ((3, 3), (1, 1), (2, 2), "same"),
    ((3, 2), (1, 1), (3, 2), "valid"),
    ((5, 5), (3, 3), (1, 1), "same"),
]


@pytest.mark.parametrize(("kernel", "strides", "dilation", "padding"), GEOMETRY)
@pytest.mark.parametrize("size", [(7, 10), (8, 9)])
def test_patches_against_a_loop(
    kernel: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int], padding: str, size: tuple[int, int]
) -> None:
    """Pixel by pixel; that the layer does it so is seen by multiplying with its kernel."""
    random = np.random.default_rng(0)
    inputs = random.normal(0, 1, (2, *size, 3)).astype(np.float32)
    layer = layers.Conv2D(4, kernel, strides=strides, dilation_rate=dilation, padding=padding)
    outputs = np.asarray(layer(inputs))
    where = places(layer, inputs.shape, 11, random)
    assert where.index.shape == (2, min(11, outputs.shape[1] * outputs.shape[2]))
    assert where.columns == outputs.shape[2]
    patches = patches_at(inputs, where).reshape(*where.index.shape, *kernel, 3)
    weights = np.asarray(layer.get_weights()[0])
    for picture, cells in enumerate(where.index):
        assert len(set(cells.tolist())) == len(cells)
        for at, cell in enumerate(cells):
            row, column = divmod(int(cell), outputs.shape[2])
            expected = np.zeros((*kernel, 3), np.float32)
            for i in range(kernel[0]):
                for j in range(kernel[1]):
                    y = row * strides[0] + i * dilation[0] - where.pad[0][0]
                    x = column * strides[1] + j * dilation[1] - where.pad[1][0]
                    if 0 <= y < size[0] and 0 <= x < size[1]:
                        expected[i, j] = inputs[picture, y, x]
            np.testing.assert_array_equal(patches[picture, at], expected)
            product = np.einsum("ijc,ijco->o", expected, weights)
            np.testing.assert_allclose(product, outputs[picture, row, column], atol=1e-4)


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(13, 16), st.sampled_from(["same", "valid"]))
def test_every_place_once(kernel: int, stride: int, dilation: int, size: int, padding: str) -> None:
    layer = SimpleNamespace(
        kernel_size=(kernel,) * 2, strides=(stride,) * 2, dilation_rate=(dilation,) * 2, padding=padding
    )
    where = places(layer, (2, size, size, 1), 10**6, np.random.default_rng(0))
    reach = (kernel - 1) * dilation + 1
    wanted = -(-size // stride) if padding == "same" else (size - reach) // stride + 1
    assert where.columns == wanted
    for cells in where.index:
        assert sorted(cells.tolist()) == list(range(wanted**2))


def least_squares(inputs: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias by ``numpy.linalg.lstsq``."""
    design = np.column_stack([inputs, np.ones(len(inputs))])
    solution = np.linalg.lstsq(design, outputs, rcond=None)[0]
    return solution[:-1], solution[-1]


@pytest.mark.usefixtures("no_ridge")
@pytest.mark.parametrize("depthwise", [False, True])
def test_least_squares(depthwise: bool) -> None:
    """A 2x2 convolution of rounded inputs; a coarse input scale makes the answer differ from the float weights."""

    def build(x: Any) -> Any:
        return layers.DepthwiseConv2D(2, name="only")(x) if depthwise else layers.Conv2D(4, 2, name="only")(x)

    model = fold_norms(make(build, 9, 9))
    images = pictures(5, 9, 9)
    wanted = run(model, images)[0].astype(np.float64)
    before = model.get_layer("only").get_weights()[0]
    # Of 255 steps of this range only 26 are used.
    fitted(model, images, (0.0, 10.0))
    kernel, bias = model.get_layer("only").get_weights()
    rounded = round_to(images.astype(np.float64), 0.0, 10.0)
    windows = np.stack([rounded[:, i : i + 8, j : j + 8] for i in (0, 1) for j in (0, 1)], axis=-2)
    if depthwise:
        for channel in range(3):
            weights, offset = least_squares(windows[..., channel].reshape(-1, 4), wanted[..., channel].ravel())
            np.testing.assert_allclose(kernel[..., channel, 0].ravel(), weights, atol=1e-4)
            assert bias[channel] == pytest.approx(offset, abs=1e-4)
    else:
        weights, offset = least_squares(windows.reshape(-1, 12), wanted.reshape(-1, 4))
        np.testing.assert_allclose(kernel.reshape(12, 4), weights, atol=1e-4)
        np.testing.assert_allclose(bias, offset, atol=1e-4)
    assert np.abs(kernel - before).max() > 1e-2


def chain(x: Any) -> Any:
    x = layers.LeakyReLU(0.1)(conv(x, 8, strides=2, name="a"))
    x = relu(layers.DepthwiseConv2D(3, padding="same", name="b")(x), 6.0)
    return [conv(x, 4, 1, name="end"), conv(x, 5, dilation_rate=2, name="wide")]


def test_no_mean_error_is_left() -> None:
    """Bias correction: each convolution's mean over the calibration pictures is what it was."""
    images = pictures(8)
    exact = fold_norms(make(chain))
    model = fold_norms(exact)
    names = ["a", "b", "end", "wide"]
    before = by_name(exact, names, images)
    plan = plan_tensors(model)
    ranges = {**choose_ranges(model, plan, observe(model, plan.inner, images), "min-max"), "image": (0.0, 4.0)}
    refit(model, plan, ranges, images)
    flow = round_to(images.astype(np.float64), 0.0, 4.0).astype(np.float32)
    for name in names:
        layer = model.get_layer(name)
        found = np.asarray(layer(flow))
        np.testing.assert_allclose(found.mean((0, 1, 2)), before[name].mean((0, 1, 2)), atol=1e-4)
        if name == "a":
            flow = round_to(found, *ranges["a"])
            flow = round_to(np.where(flow < 0, 0.1 * flow, flow), *ranges["leaky_re_lu"]).astype(np.float32)
        if name == "b":
            flow = round_to(np.clip(found, 0, 6), *ranges["re_lu"]).astype(np.float32)


def test_weights_end_on_their_steps() -> None:
    model = fold_norms(make(chain))
    fitted(model, pictures())
    for name in ("a", "b", "end", "wide"):
        kernel = model.get_layer(name).get_weights()[0].astype(np.float64)
        flat = kernel.reshape(-1, kernel.shape[2]) if name == "b" else kernel.reshape(-1, kernel.shape[3])
        steps = flat / (np.abs(flat).max(0) / 127)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)


def not_fitted(x: Any) -> Any:
    x = conv(x, 4, groups=1, name="a")
    x = conv(x, 4, groups=2, name="grouped")
    return layers.DepthwiseConv2D(3, depth_multiplier=2, name="double")(x)


@pytest.mark.parametrize(("names", "most"), [({"grouped", "double"}, 2304), ({"grouped", "double", "a"}, 26)])
def test_what_is_only_rounded(names: set[str], most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_INPUTS", most)
    model = fold_norms(make(not_fitted))
    before = {layer.name: layer.get_weights() for layer in model.layers}
    fitted(model, pictures(), (0.0, 3.0))
    for name in ("a", "grouped", "double"):
        kernel, bias = model.get_layer(name).get_weights()
        old, offset = before[name]
        flat = old.reshape(-1, old.shape[2] * old.shape[3] if name == "double" else old.shape[3])
        nearest = round_nearest(flat.astype(np.float64)).reshape(old.shape)
        assert np.allclose(kernel, nearest, atol=1e-6) == (name in names)
        assert np.array_equal(bias, offset) == (name in names)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_pictures_that_never_change(level: float, size: float) -> None:
    """No variance to fit to: weights must stay near the float ones, for other pictures will come."""
    model = make(chain)
    exact = fold_norms(model)
    fitted(exact, np.full((4, 16, 16, 3), level * size, np.float32), (0.0, size))
    images = size * pictures(4)
    for mine, expected in zip(run(exact, images), run(model, images), strict=True):
        assert np.isfinite(mine).all()
        assert decibels(expected, mine) > 15


def test_the_picture_is_rounded_too() -> None:
    """With zero half a step beside the pixels (-1..1), what rounding adds to every pixel goes into the bias."""
    model = fold_norms(make(lambda x: layers.Conv2D(3, 1, name="only")(x), 8, 8))
    images = np.round(pictures(4, 8, 8) * 255).astype(np.float32) / np.float32(127.5) - 1
    wanted = run(model, images)[0].mean((0, 1, 2))
    fitted(model, images, (-1.0, 1.0))
    found = np.asarray(model.get_layer("only")(tf.quantization.fake_quant_with_min_max_args(images, -1.0, 1.0)))
    np.testing.assert_allclose(found.mean((0, 1, 2)), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("limit", "available", "expected"),
    [(384 << 20, 500, 128), (384 << 20, 20, 20), (4 * 16 * 16 * 8 * 10, 500, 10), (1, 500, 8), (1, 3, 3)],
)
def test_how_many_pictures(limit: int, available: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor here has 16 x 16 x 8 float32."""
    monkeypatch.setattr(module, "_MAX_BYTES", limit)
    model = make(lambda x: conv(layers.MaxPooling2D()(conv(x, 8)), 16))
    assert module.sample_count(model, available) == expected


@pytest.fixture(autouse=True)
def _few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """All places of such small pictures, still."""
    monkeypatch.setattr(module, "_PLACES", 20_000)
