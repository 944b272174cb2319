"""MobileNetV2 against Keras's own, and the shapes and anchors of the detectors on it."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest

from convert.models.mobilenet_v2 import make_divisible, mobilenet_v2
from convert.models.ssd import SsdConfig, default_heads, ssd
from convert.recipe import NetworkRecipe
from convert.train.weights import adopt_weights
from convert.trained import network
from runtime.card import HeadSpec
from runtime.errors import InputError

TWO = (HeadSpec(16, ((20.0, 20.0), (30.0, 30.0))), HeadSpec(32, ((50.0, 50.0),)))


def backbone(width: float, size: int) -> keras.Model:
    image = keras.Input((size, size, 3))
    return keras.Model(image, mobilenet_v2(image, width)["out_relu"])


def shapes(model: keras.Model) -> dict[str, list[tuple[int, ...]]]:
    return {layer.name: [tuple(w.shape) for w in layer.weights] for layer in model.layers if layer.weights}


@pytest.mark.parametrize(("width", "size"), [(0.35, 96), (0.35, 75), (1.0, 49), (1.4, 33)])
def test_backbone_equals_keras(width: float, size: int) -> None:
    """Names, weight shapes and, with the same weights, every feature map; odd sizes pad differently."""
    theirs = keras.applications.MobileNetV2((size, size, 3), width, include_top=False, weights=None)
    mine = backbone(width, size)
    assert shapes(mine) == shapes(theirs)
    random = np.random.default_rng(1)
    for layer in mine.layers:
        if layer.weights:
            if isinstance(layer, keras.layers.BatchNormalization):
                values = [random.uniform(0.7, 1.3, w.shape) for w in layer.weights]
            else:
                kernel = layer.weights[0].shape
                fan_in = kernel[0] * kernel[1] * (1 if "depthwise" in layer.name else kernel[2])
                values = [random.normal(0, (2 / fan_in) ** 0.5, kernel)]
            layer.set_weights(values)
            theirs.get_layer(layer.name).set_weights(values)
    names = [layer.name for layer in mine.layers if isinstance(layer, (keras.layers.ReLU, keras.layers.Add))]
    picked = [*names[::7], "block_16_project_BN", "out_relu"]
    data = random.uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    pair = (keras.Model(model.input, [model.get_layer(name).output for name in picked]) for model in (mine, theirs))
    for name, one, other in zip(picked, *(model(data, training=False) for model in pair), strict=True):
        assert np.ptp(np.asarray(other)) > 0.1, name
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-3, atol=1e-3, err_msg=name)


def test_taps_have_their_strides() -> None:
    image = keras.Input((96, 96, 3))
    taps = mobilenet_v2(image, 0.35, top=False)
    assert "out_relu" not in taps
    wanted = {"block_3_expand_relu": 24, "block_6_expand_relu": 12, "block_13_expand_relu": 6, "block_16_project_BN": 3}
    assert {name: taps[name].shape[1] for name in wanted} == wanted
    assert mobilenet_v2(image, 0.35)["out_relu"].shape == (None, 3, 3, 1280)


@pytest.mark.parametrize(("channels", "rounded"), [(32 * 0.35, 16), (16 * 0.35, 8), (24 * 0.75, 24), (11, 16), (3, 8)])
def test_channels_are_rounded_as_by_the_authors(channels: float, rounded: int) -> None:
    assert make_divisible(channels) == rounded
    assert rounded % 8 == 0
    assert rounded >= 0.9 * channels


def test_imagenet_backbone_is_adopted_whole(shared: Path) -> None:
    path = shared / "zoo" / "mobilenetv2-0.35-imagenet" / "keras_model.h5"
    model = backbone(0.35, 96)
    layers = [layer.name for layer in model.layers if layer.weights]
    # The detector reads the last narrow layer; the 1x1 convolution behind it comes along in the full network.
    before = [weight.copy() for weight in model.get_weights()]
    taken = adopt_weights(model, path)
    assert set(layers) - set(taken) <= {"Conv_1", "Conv_1_bn"}
    assert len(taken) >= 102
    changed = sum(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert changed == len(before)
    detector, _ = ssd(SsdConfig(6, 96, 0.35, neck=32, heads=TWO))
    backbone_layers = [name for name in layers if not name.startswith("Conv_1")]
    assert adopt_weights(detector, path) == backbone_layers
    assert len(backbone_layers) == 102


@pytest.mark.parametrize("size", [300, 320])
@pytest.mark.parametrize("lite", [True, False])
def test_six_scales(size: int, lite: bool) -> None:
    model, heads = ssd(SsdConfig(21, size, 0.35, lite))
    assert [head.stride for head in heads] == [16, 32, 64, 128, 256, 512]
    assert [len(head.anchors) for head in heads] == [3, 6, 6, 6, 6, 6]
    grids = [19, 10, 5, 3, 2, 1] if size == 300 else [20, 10, 5, 3, 2, 1]
    expected = []
    for grid, head in zip(grids, heads, strict=True):
        assert grid == math.ceil(size / head.stride)
        expected += [(None, grid, grid, len(head.anchors) * n) for n in (4, 21)]
    assert [output.shape for output in model.outputs] == expected
    names = [output._keras_history.operation.name for output in model.outputs]
    assert names == [f"{kind}_{head.stride}" for head in heads for kind in ("box", "class")]
    plain = [
        layer.name
        for layer in model.layers
        if type(layer) is keras.layers.Conv2D and layer.kernel_size != (1, 1) and layer.name != "Conv1"
    ]
    assert len(plain) == (0 if lite else 4 + 12)


@pytest.mark.parametrize(("kernel", "lite"), [(3, True), (5, True), (3, False)])
def test_fused_neck(kernel: int, lite: bool) -> None:
    model, heads = ssd(SsdConfig(7, 96, 0.35, lite, neck=24, kernel=kernel, heads=TWO))
    assert heads == TWO
    assert [output.shape for output in model.outputs] == [
        *((None, 6, 6, 8), (None, 6, 6, 14)),
        *((None, 3, 3, 4), (None, 3, 3, 7)),
    ]
    layer = model.get_layer("box_16_depthwise" if lite else "box_16")
    assert layer.kernel_size == (kernel, kernel)
    assert default_heads(96, 2) == ssd(SsdConfig(7, 96, 0.35, neck=24))[1]


def test_untrained_network_finds_nothing() -> None:
    """Class logits start at a probability of one percent, boxes at their anchors (arXiv:1708.02002, section 4.1)."""
    model, _ = ssd(SsdConfig(3, 64, 0.35, neck=16, heads=TWO))
    outputs = model(np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32), training=False)
    for index, output in enumerate(outputs):
        np.testing.assert_allclose(np.asarray(output), -math.log(99) if index % 2 else 0, atol=0.5)


@pytest.mark.parametrize(
    ("size", "count", "low", "high"), [(300, 6, 0.2, 0.95), (320, 6, 0.2, 0.9), (200, 2, 0.3, 0.8)]
)
def test_default_heads_follow_the_paper(size: int, count: int, low: float, high: float) -> None:
    """Section 2.2: s_k = s_min + (s_max - s_min) (k - 1) / (m - 1); w = s sqrt(a), h = s / sqrt(a)."""
    heads = default_heads(size, count, low, high)
    scales = [low + (high - low) * (k - 1) / (count - 1) for k in range(1, count + 1)]
    for k, (head, scale) in enumerate(zip(heads, scales, strict=True), start=1):
        assert head.stride == 16 * 2 ** (k - 1)
        ratios = [2, 1 / 2] if k == 1 else [1, 2, 3, 1 / 2, 1 / 3]
        boxes = {(scale * math.sqrt(a), scale / math.sqrt(a)) for a in ratios}
        extra = low / 2 if k == 1 else math.sqrt(scale * [*scales, 1.0][k])
        wanted = sorted([(w * size, h * size) for w, h in boxes] + [(extra * size, extra * size)])
        np.testing.assert_allclose(sorted(head.anchors), wanted, rtol=1e-9)
    areas = [max(w * h for w, h in head.anchors) for head in heads]
    assert all(a < b for a, b in pairwise(areas))


def test_heads_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="1 heads for 2 feature maps"):
        ssd(SsdConfig(3, 64, 0.35, neck=16, heads=TWO[:1]))
    recipe = NetworkRecipe("ssd-mobilenetv2", 64, 0.35, neck=16, heads=TWO[:1])
    with pytest.raises(InputError, match=r"cannot be built \(1 heads for 2 feature maps\); check \[source.network\]"):
        network(recipe, 3, 64)


def test_size_that_does_not_fit_the_neck() -> None:
    with pytest.raises(InputError, match="the recipe's network cannot be built") as caught:
        network(NetworkRecipe("ssd-mobilenetv2", 80, 0.35, neck=16, heads=TWO), 3, 80)
    assert len(caught.value.line()) < 400


def test_anchors_keep_their_pixels() -> None:
    recipe = NetworkRecipe("ssd-mobilenetv2", 64, 0.35, neck=16, heads=TWO)
    _, heads = network(recipe, 3, 96)
    assert heads == TWO
    # The weights fit every size.
    assert shapes(network(recipe, 3, 64)[0]) == shapes(network(recipe, 3, 96)[0])
