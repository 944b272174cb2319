"""Which channels belong together, worked out by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from convert.models.layers import ChannelGroup, EdgePadding, NearestUpsample
from convert.quantize.channels import ChannelClasses, channel_classes
from convert.quantize.fold import fold_norms
from tests.convert.small_nets import Build, make

layers = keras.layers


def c(x: Any, name: str, filters: int = 4, **options: Any) -> Any:
    return layers.Conv2D(filters, 1, name=name, **options)(x)


def classes_of(build: Build) -> ChannelClasses:
    return channel_classes(fold_norms(make(build, 8, 8)))


def free(classes: ChannelClasses, name: str) -> list[bool]:
    return [not frozen for frozen in classes.frozen[classes.of[name]]]


def test_picture_and_outputs_are_frozen() -> None:
    classes = classes_of(lambda x: c(c(x, "a"), "end"))
    assert free(classes, "image") == [False] * 3
    assert free(classes, "a") == [True] * 4
    assert free(classes, "end") == [False] * 4
    assert len(set(classes.of["a"])) == 4
    assert not set(classes.of["a"]) & set(classes.of["end"])


def test_a_residual_chain_is_one_set_of_classes() -> None:
    def build(x: Any) -> Any:
        first = c(x, "a")
        second = layers.Add(name="s1")([first, c(layers.ReLU(name="r")(c(first, "inner")), "b")])
        return c(layers.Add(name="s2")([second, c(second, "d")]), "end")

    classes = classes_of(build)
    for name in ("b", "d", "s1", "s2"):
        np.testing.assert_array_equal(classes.of[name], classes.of["a"])
    np.testing.assert_array_equal(classes.of["r"], classes.of["inner"])
    assert not set(classes.of["inner"]) & set(classes.of["a"])
    assert all(free(classes, "a") + free(classes, "inner"))


def test_a_sum_with_the_picture_freezes_the_chain() -> None:
    def build(x: Any) -> Any:
        return c(layers.Add()([c(layers.Add(name="s")([x, c(x, "a", 3)]), "b", 3), c(x, "free", 3)]), "end")

    classes = classes_of(build)
    assert not any(free(classes, "a"))
    assert all(free(classes, "b"))


def test_slices_of_a_concatenation_keep_their_classes() -> None:
    def build(x: Any) -> Any:
        a, b = c(x, "a", 3), c(x, "b", 5)
        joined = layers.Concatenate(name="cat")([a, layers.MaxPooling2D(1)(b)])
        part = ChannelGroup(2, 1, name="part")(joined)
        return [c(joined, "one"), c(part, "two")]

    classes = classes_of(build)
    np.testing.assert_array_equal(classes.of["cat"], [*classes.of["a"], *classes.of["b"]])
    np.testing.assert_array_equal(classes.of["part"], classes.of["b"][1:])
    assert all(free(classes, "cat"))


def test_a_sum_ties_across_slices() -> None:
    """What is added to a part of a concatenation is tied to that part alone."""

    def build(x: Any) -> Any:
        joined = layers.Concatenate(name="cat")([c(x, "a", 2), c(x, "b", 2)])
        return c(layers.Add()([ChannelGroup(2, 0)(joined), c(joined, "d", 2)]), "end")

    classes = classes_of(build)
    np.testing.assert_array_equal(classes.of["a"], classes.of["d"])
    assert not set(classes.of["b"]) & set(classes.of["d"])


PASSING: dict[str, Any] = {
    "leaky": lambda: layers.LeakyReLU(0.1),
    "relu": lambda: layers.ReLU(),
    "pooling": lambda: layers.MaxPooling2D(),
    "zero padding": lambda: layers.ZeroPadding2D(1),
    "edge padding": lambda: EdgePadding((1, 0), (0, 1)),
    "upsampling": lambda: NearestUpsample(),
    "dropout": lambda: layers.Dropout(0.5),
}
FREEZING: dict[str, Any] = {
    "relu6": lambda: layers.ReLU(6.0),
    "relu above 1": lambda: layers.ReLU(threshold=1.0),
    "sigmoid": lambda: layers.Activation("sigmoid"),
    "silu": lambda: layers.Activation("silu"),
    "norm": lambda: layers.BatchNormalization(),
    "mean": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "reshape": lambda: layers.Reshape((4, 16, 4)),
    "depthwise times two": lambda: layers.DepthwiseConv2D(1, depth_multiplier=2),
    "grouped": lambda: layers.Conv2D(4, 1, groups=2),
}


@pytest.mark.parametrize("layer", PASSING.values(), ids=PASSING)
def test_layers_that_pass_factors(layer: Any) -> None:
    classes = classes_of(lambda x: c(layer()(layers.ReLU()(c(x, "a"))), "end"))
    assert all(free(classes, "a"))


@pytest.mark.parametrize("layer", FREEZING.values(), ids=FREEZING)
def test_layers_that_do_not(layer: Any) -> None:
    classes = classes_of(lambda x: c(layer()(layers.MaxPooling2D(1)(c(x, "a"))), "end"))
    assert not any(free(classes, "a"))


@pytest.mark.parametrize("activation", ["relu6", "sigmoid", "silu", "tanh"])
def test_activations_inside_a_convolution_freeze_too(activation: str) -> None:
    classes = classes_of(lambda x: c(c(x, "a", activation=activation), "end"))
    assert not any(free(classes, "a"))


def test_depthwise_has_classes_of_its_own() -> None:
    classes = classes_of(lambda x: c(layers.DepthwiseConv2D(3, name="d")(c(x, "a")), "end"))
    assert all(free(classes, "a") + free(classes, "d"))
    assert not set(classes.of["a"]) & set(classes.of["d"])


def test_outputs_of_grouped_convolutions_are_free() -> None:
    classes = classes_of(lambda x: c(c(c(x, "a"), "g", groups=2), "end"))
    assert all(free(classes, "g"))


def test_numbers_have_no_gaps() -> None:
    classes = classes_of(lambda x: c(layers.Add()([c(x, "a"), c(x, "b")]), "end"))
    used = {int(number) for each in classes.of.values() for number in each}
    assert used == set(range(len(classes.frozen)))
