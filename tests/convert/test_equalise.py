"""Channel equalisation: the same function, better int8."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convert.importers import load_source
from convert.quantize.calibration import load_calibration
from convert.quantize.equalise import channel_factors, equalise, find_pairs
from convert.quantize.heads import split_heads
from convert.quantize.tflite import to_int8
from convert.source import SourceModel
from runtime.decode.candidates import dequantize
from runtime.engine import Engine
from tests.nets import DarknetWriter


def heads(source: SourceModel, sample: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(output) for output in keras.tree.flatten(source.model(sample[None], training=False))]


def test_the_function_stays_the_same(tiny_cfg: Path, photos: Path) -> None:
    source = load_source(tiny_cfg)
    samples = load_calibration(photos, source.input).samples
    before = heads(source, samples[1])
    after = heads(equalise(source, samples), samples[1])
    for mine, expected in zip(after, before, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-4 * np.ptp(expected))
    # The network that was given is untouched.
    for mine, expected in zip(heads(source, samples[1]), before, strict=True):
        np.testing.assert_array_equal(mine, expected)


def pairs_of(net: DarknetWriter, folder: Path) -> dict[str, list[str]]:
    model = load_source(net.write(folder)).model
    return {pair.first.name: sorted(reader.name for reader in pair.readers) for pair in find_pairs(model)}


def test_what_may_be_rescaled(tmp_path: Path) -> None:
    net = DarknetWriter(32, 32)
    net.conv(8, 3)  # 0: read by 1 alone
    net.conv(8, 3, groups=8)  # 1: depthwise, read by 2
    net.conv(8, 1, activation="linear")  # 2: added to by 4
    net.conv(8, 3, activation="relu6")  # 3: ReLU6 does not commute
    net.section("shortcut", 8, **{"from": -2, "activation": "linear"})  # 4
    net.conv(16, 3, activation="relu")  # 5: through pooling and padding, to 7
    net.section("maxpool", 16, size=2, stride=2)  # 6
    net.conv(16, 3, stride=2)  # 7: read by 8 and, past the route, by 10
    net.conv(8, 1, activation="swish")  # 8: swish does not commute
    net.route("-2", 16)  # 9
    net.conv(8, 1, groups=2)  # 10: a grouped reader is not supported, so 7 stays as it is
    net.yolo(2)  # 11 reads 10
    assert pairs_of(net, tmp_path) == {
        "conv_0": ["conv_1"],
        "conv_1": ["conv_2"],
        "conv_5": ["conv_7"],
        "conv_10": ["conv_11"],
    }


def test_two_readers_are_both_served(tmp_path: Path) -> None:
    net = DarknetWriter(32, 32)
    net.conv(8, 3)
    net.conv(16, 1)
    net.yolo(2, "0,1")
    net.route("1", 16)
    net.conv(8, 3, stride=2)
    net.yolo(2, "2,3")
    assert pairs_of(net, tmp_path)["conv_1"] == ["conv_2", "conv_5"]


@given(
    arrays.arrays(np.float32, 12, elements=st.floats(0, 1e6, width=32)),
    st.none() | arrays.arrays(np.float32, 12, elements=st.floats(0, 10, width=32)),
)
def test_factors_are_positive_bounded_and_ordered(largest: np.ndarray, weights: np.ndarray | None) -> None:
    factors = channel_factors(largest, weights)
    assert np.isfinite(factors).all()
    assert (factors >= 1 / 256).all()
    assert (factors <= 256).all()
    if weights is None:
        assert (np.diff(factors[np.argsort(largest)]) >= 0).all()


def test_even_channels_are_left_alone() -> None:
    np.testing.assert_allclose(channel_factors(np.full(8, 3.0, np.float32), np.full(8, 0.2, np.float32)), 1, rtol=1e-6)


def planted(folder: Path) -> Path:
    """A net with one channel a hundred times too large, undone by the weights that read it."""
    net = DarknetWriter(32, 32, seed=4)
    net.conv(16, 3)
    net.conv(16, 3)
    net.yolo(2)
    scales, weights = 5, 9
    # Numbers of the second layer: biases, scales, means, variances, weights; then the head's biases and weights.
    net.numbers[scales + 1] = net.numbers[scales + 1].copy()
    net.numbers[scales + 1][3] *= 100
    net.numbers[scales] = net.numbers[scales].copy()
    net.numbers[scales][3] *= 100
    head = net.numbers[weights + 2].copy()
    head[:, 3] /= 100
    net.numbers[weights + 2] = head
    return net.write(folder, "planted")


@pytest.mark.parametrize(("repaired", "least", "most"), [(False, -20, 12), (True, 20, 60)])
def test_planted_outlier_channel(repaired: bool, least: float, most: float, photos: Path, tmp_path: Path) -> None:
    """Decibels of int8 against float: the outlier drowns its neighbours, and equalisation brings them back."""
    source = load_source(planted(tmp_path))
    samples = load_calibration(photos, source.input).samples
    split = split_heads(equalise(source, samples) if repaired else source)
    path = tmp_path / "net.tflite"
    path.write_bytes(to_int8(split, "image", samples))
    engine = Engine(path)
    engine.input_view()[:] = np.round(samples[2][None] * 255 - 128).astype(np.int8)
    engine.invoke()
    expected = [np.asarray(output) for output in split_heads(source).model(samples[2][None], training=False)]
    names = [spec.name for spec in engine.outputs]
    noise = []
    for binding, real in zip(split.bindings, expected, strict=True):
        index = names.index(binding.name)
        mine = dequantize(engine.output_view(index).copy(), engine.outputs[index])
        noise.append(10 * np.log10(np.mean((real - real.mean()) ** 2) / np.mean((real - mine) ** 2)))
    assert least < min(noise) < most, noise
