"""Which tensors disturb the outputs, and what runs in float when one of them does."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest

from convert.quantize.graph import float_layers, outputs_of
from convert.quantize.noise import predicted_noise, units
from convert.quantize.ptq import Options, leave_float
from convert.quantize.rounding import round_nearest
from tests.convert.small_nets import make, pictures, quantised, run

layers = keras.layers


def leaky(x: Any, name: str, filters: int = 12) -> Any:
    x = layers.Conv2D(filters, 3, padding="same", name=f"conv_{name}")(x)
    return layers.LeakyReLU(0.1, name=f"leaky_{name}")(x)


def net(image: Any) -> Any:
    """Leaky and fused activations, a sum, and a pad between a tensor and its reader."""
    a = leaky(image, "a")
    b = layers.ReLU(name="relu_b")(layers.Conv2D(12, 1, name="conv_b")(a))
    total = layers.Add(name="sum")([a, b])
    padded = layers.ZeroPadding2D(1, name="pad")(total)
    return layers.Conv2D(5, 3, strides=2, name="head")(padded)


@pytest.mark.parametrize(
    ("leave", "expected"),
    [
        ((), set()),
        (("conv_a",), {"conv_a", "leaky_a"}),
        (("leaky_a",), {"leaky_a", "conv_b", "sum"}),
        (("relu_b",), {"conv_b", "relu_b", "sum"}),
        (("sum",), {"sum", "pad", "head"}),
        (("conv_a", "leaky_a"), {"conv_a", "leaky_a", "conv_b", "sum"}),
    ],
)
def test_float_layers(leave: tuple[str, ...], expected: set[str]) -> None:
    assert float_layers(make(net), frozenset(leave)) == expected


def test_noise_is_what_rounding_does() -> None:
    """Each tensor rounded alone, against the prediction from its scale and gain."""
    images = pictures(12)
    quantized = dataclasses.replace(found := quantised(make(net), images=images), model=found.exact)
    predicted = predicted_noise(quantized)
    (exact,) = run(quantized.exact, images)
    everything = frozenset(quantized.plan.points)
    for point in quantized.plan.inner:
        (rounded,) = run(quantized.simulation(leave=everything - {point}), images)
        measured = np.square(rounded - exact).sum(axis=(1, 2, 3)).mean()
        # Behind the leaky ReLU whatever is positive stands on a step already, when the two share their range.
        assert 0.3 < measured / predicted[point] < 2, point


def test_units() -> None:
    quantized = quantised(make(net))
    ladder = units(quantized)
    points = [point for unit in ladder for point in unit.points]
    assert sorted(points) == sorted(set(quantized.plan.inner) - outputs_of(quantized.exact))
    assert any({"conv_a", "leaky_a"} <= set(unit.points) for unit in ladder)
    worth = [unit.noise / unit.cost for unit in ladder]
    assert worth == sorted(worth, reverse=True)
    assert 0.1 < sum(unit.noise for unit in ladder) < 1


def test_float_layers_keep_float_weights() -> None:
    images = pictures(12)
    quantized = quantised(make(net), Options(equalise=False), images)
    left = leave_float(quantized, frozenset({"relu_b"}), images)
    for name, in_float in (("conv_a", False), ("conv_b", True), ("head", False)):
        kernel = left.model.get_layer(name).get_weights()[0].astype(np.float64)
        flat = kernel.reshape(-1, kernel.shape[-1])
        assert (np.abs(round_nearest(flat) - flat).max() < 1e-6) != in_float, name
