"""Which channels leave together, worked out by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from convert.models.layers import ChannelGroup, EdgePadding, Mish, NearestUpsample
from tests.convert.prune_nets import apart, conv, free, graph_of, reasons, same

layers = keras.layers


def test_inputs_and_outputs_stay() -> None:
    graph = graph_of(lambda x: conv(conv(x, 4, "a"), 5, "end"))
    assert free(graph, "image") == [False] * 3
    assert free(graph, "a") == [True] * 4
    assert free(graph, "end") == [False] * 5
    assert graph.classes == 3 + 4 + 5
    assert reasons(graph, "image") == {"image is an input of the network"}
    assert graph.kept_layers() == {"end": "end is an output of the network"}
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["a"])
    assert [layer.name for layer, _ in graph.makers()] == ["a", "end"]


def test_a_residual_chain_is_one_set_of_classes_and_one_bundle() -> None:
    def build(x: Any) -> Any:
        first = conv(x, 4, "a")
        second = layers.Add(name="s1")([first, conv(layers.ReLU()(conv(first, 6, "inner")), 4, "b")])
        return conv(layers.Add(name="s2")([second, conv(second, 4, "c")]), 2, "end")

    graph = graph_of(build)
    same(graph, "a", "b", "c", "s1", "s2")
    apart(graph, "a", "inner")
    assert len(set(graph.bundle[graph.makes["a"]])) == 1
    assert set(graph.bundle[graph.makes["a"]]) != set(graph.bundle[graph.makes["inner"]])
    assert all(free(graph, "a") + free(graph, "inner"))


def test_classes_have_no_gaps() -> None:
    graph = graph_of(lambda x: conv(layers.Add()([conv(x, 4, "a"), conv(x, 4, "b")]), 2, "end"))
    assert {int(each) for made in graph.makes.values() for each in made} == set(range(graph.classes))
    assert set(graph.bundle) == set(range(graph.bundle.max() + 1))


def test_a_sum_with_the_picture_stays() -> None:
    graph = graph_of(lambda x: conv(layers.Add(name="s")([x, conv(x, 3, "a")]), 2, "end"))
    assert graph.kept_layers()["a"] == "image is an input of the network"


MERGES: dict[str, Any] = {
    **{kind.__name__: kind() for kind in (layers.Add, layers.Subtract, layers.Multiply, layers.Average)},
    **{kind.__name__: kind() for kind in (layers.Maximum, layers.Minimum)},
    **{f.__name__: lambda xs, f=f: f(*xs) for f in (ops.add, ops.subtract, ops.multiply, ops.divide, ops.maximum)},
    "where": lambda xs: ops.where(xs[0] > 0, xs[0], xs[1]),
    "operator": lambda xs: xs[0] + 2.0 * xs[1] - 1,
    "concatenated rows": layers.Concatenate(axis=1),
    "concatenated columns": layers.Concatenate(axis=-2),
    "concatenated pictures": lambda xs: ops.concatenate(xs, axis=0),
}


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
def test_what_is_merged_leaves_together(merge: Any) -> None:
    graph = graph_of(lambda x: conv(merge([conv(x, 4, "a"), conv(x, 4, "b")]), 2, "end"))
    same(graph, "a", "b")
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["a"])
    assert all(free(graph, "a"))


def vector_gate(x: Any) -> Any:
    return layers.Dense(4, "sigmoid", name="gate")(layers.GlobalAveragePooling2D()(x))


GATES: dict[str, Any] = {
    "1x1 convolution": lambda x: conv(layers.GlobalAveragePooling2D(keepdims=True)(x), 4, "gate"),
    "dense and reshape": lambda x: layers.Reshape((1, 1, 4))(vector_gate(x)),
    "dense alone": vector_gate,
    "keras.ops": lambda x: ops.sigmoid(conv(ops.mean(x, axis=(1, 2), keepdims=True), 4, "gate")),
    "keras.ops.expand_dims": lambda x: ops.expand_dims(vector_gate(x), (1, 2)),
}


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_a_factor_for_each_channel_leaves_with_it(gate: Any) -> None:
    def build(x: Any) -> Any:
        x = conv(x, 4, "a")
        return conv(layers.Multiply(name="scaled")([x, gate(x)]), 2, "end")

    graph = graph_of(build)
    same(graph, "a", "gate", "scaled")
    assert all(free(graph, "a"))


@pytest.mark.parametrize("multiply", [layers.Multiply(), lambda xs: xs[0] * xs[1]])
def test_one_channel_spread_over_all_stays(multiply: Any) -> None:
    graph = graph_of(lambda x: conv(multiply([conv(x, 4, "a"), conv(x, 1, "gate")]), 2, "end"))
    assert graph.kept_layers()["gate"].endswith(" spreads it over 4 channels")
    assert all(free(graph, "a"))


@pytest.mark.parametrize("join", [layers.Concatenate(), layers.Concatenate(3), lambda xs: ops.concatenate(xs, -1)])
def test_a_concatenation_keeps_the_classes_of_its_parts(join: Any) -> None:
    def build(x: Any) -> Any:
        a, b = conv(x, 2, "a"), conv(x, 3, "b")
        return [conv(join([a, b, a]), 4, "end"), layers.Add()([conv(x, 3, "c"), b])]

    graph = graph_of(build)
    a, b = graph.makes["a"], graph.makes["b"]
    np.testing.assert_array_equal(graph.reads["end"], [*a, *b, *a])
    assert free(graph, "a") == [True] * 2
    assert free(graph, "b") == [False] * 3


def test_depthwise_filters_leave_with_their_channel() -> None:
    def build(x: Any) -> Any:
        x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu", name="deep")(conv(x, 3, "a"))
        return conv(x, 2, "end")

    graph = graph_of(build)
    np.testing.assert_array_equal(graph.makes["deep"], np.repeat(graph.makes["a"], 2))
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["deep"])
    assert all(free(graph, "a"))


def test_a_group_goes_as_a_whole() -> None:
    graph = graph_of(lambda x: conv(conv(conv(x, 6, "a"), 4, "grouped", groups=2), 2, "end"))
    a, grouped = graph.makes["a"], graph.makes["grouped"]
    assert len(set(a)) == 2
    np.testing.assert_array_equal(a, [a[0]] * 3 + [a[3]] * 3)
    np.testing.assert_array_equal(grouped, [a[0]] * 2 + [a[3]] * 2)
    assert graph.bundle[a[0]] == graph.bundle[a[3]]
    assert all(free(graph, "a"))


@pytest.mark.parametrize("part", [ChannelGroup(2, 1), lambda x: ops.split(x, 2, axis=-1)[1]], ids=["layer", "ops"])
def test_parts_stay_equal(part: Any) -> None:
    graph = graph_of(lambda x: conv(part(layers.Concatenate()([conv(x, 2, "a"), conv(x, 2, "b")])), 3, "end"))
    same(graph, "a", "b")
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["b"])
    assert all(free(graph, "a"))
    assert len(set(graph.makes["a"])) == 2


def test_rows_split_apart_are_the_same_channels() -> None:
    def build(x: Any) -> Any:
        upper, lower = ops.split(conv(x, 4, "a"), 2, axis=1)
        return [conv(upper, 2, "one"), conv(lower, 2, "two")]

    graph = graph_of(build)
    np.testing.assert_array_equal(graph.reads["one"], graph.makes["a"])
    np.testing.assert_array_equal(graph.reads["two"], graph.makes["a"])


# What keeps channels apart and in their order, on (b, 8, 8, 4).
PASSING: dict[str, Any] = {
    "norm": layers.BatchNormalization,
    "norm, axis 3": lambda: layers.BatchNormalization(axis=3),
    "prelu": layers.PReLU,
    "prelu shared": lambda: layers.PReLU(shared_axes=[1, 2]),
    "relu6": lambda: layers.ReLU(6.0),
    "leaky": lambda: layers.LeakyReLU(0.1),
    "mish": Mish,
    **{name: lambda name=name: layers.Activation(name) for name in ("relu", "sigmoid", "silu", "hard_silu", "gelu")},
    "function of keras.ops": lambda: layers.Activation(ops.relu6),
    "max": layers.MaxPooling2D,
    "average": lambda: layers.AveragePooling2D(2),
    "global max": layers.GlobalMaxPooling2D,
    "global mean": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "adaptive": lambda: layers.AdaptiveAveragePooling2D(2),
    "zero padding": lambda: layers.ZeroPadding2D(1),
    "edge padding": lambda: EdgePadding((1, 0), (0, 1)),
    "cropping": lambda: layers.Cropping2D(1),
    "upsampling": layers.UpSampling2D,
    "bilinear": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    "nearest": NearestUpsample,
    "resizing": lambda: layers.Resizing(4, 4),
    "dropout": lambda: layers.Dropout(0.5),
    "spatial dropout": lambda: layers.SpatialDropout2D(0.5),
    "rescaling": lambda: layers.Rescaling(2.0, -1.0),
    "transposed picture": lambda: layers.Permute((2, 1, 3)),
    "pixels in a row": lambda: layers.Reshape((64, 4)),
    "pixels in a row, counted": lambda: layers.Reshape((-1, 4)),
    "as many channels as are left": lambda: layers.Reshape((8, 8, -1)),
    "ops.mean": lambda: lambda x: ops.mean(x, (1, 2)),
    "ops.max of rows": lambda: lambda x: ops.max(x, axis=1, keepdims=True),
    "ops.squeeze": lambda: lambda x: ops.squeeze(ops.mean(x, (1, 2), keepdims=True), (1, 2)),
    "ops.transpose": lambda: lambda x: ops.transpose(x, (0, 2, 1, 3)),
    "ops.pad": lambda: lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))),
    "ops.reshape": lambda: lambda x: ops.reshape(x, (-1, 64, 4)),
    "ops.max_pool": lambda: lambda x: ops.max_pool(x, 2),
    "ops.image.resize": lambda: lambda x: ops.image.resize(x, (4, 4)),
    "ops of one": lambda: lambda x: ops.clip(ops.sqrt(ops.abs(ops.tanh(-x))), 0, 1),
    "hard swish by hand": lambda: lambda x: x * ops.relu6(x + 3) / 6,
    "one number for all": lambda: lambda x: x + np.ones((1, 8, 8, 1), np.float32),
}


@pytest.mark.parametrize("layer", PASSING.values(), ids=PASSING)
def test_layers_that_pass_channels(layer: Any) -> None:
    graph = graph_of(lambda x: layers.Dense(2, name="end")(layer()(conv(x, 4, "a"))))
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["a"])
    assert free(graph, "a") == [True] * 4


@pytest.mark.parametrize(
    "flat",
    [
        layers.Flatten(),
        layers.Reshape((64 * 4,)),
        layers.Reshape((-1,)),
        lambda x: ops.reshape(x, (-1, 64 * 4)),
        lambda x: layers.Flatten()(layers.Reshape((8, 32))(x)),
    ],
    ids=["flatten", "reshape", "reshape to -1", "ops", "in two steps"],
)
def test_flattened_channels_come_once_for_each_pixel(flat: Any) -> None:
    graph = graph_of(lambda x: layers.Dense(2, name="end")(flat(conv(x, 4, "a"))))
    np.testing.assert_array_equal(graph.reads["end"], np.tile(graph.makes["a"], 64))
    assert all(free(graph, "a"))


MAKING: dict[str, Any] = {
    "transposed": lambda: layers.Conv2DTranspose(5, 3, name="it"),
    "separable": lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2, name="it"),
    "dense on pixels": lambda: layers.Dense(5, name="it"),
    "relu inside": lambda: layers.Conv2D(5, 3, activation="relu", name="it"),
    "a layer as activation": lambda: layers.Conv2D(5, 3, activation=layers.LeakyReLU(0.2), name="it"),
}


@pytest.mark.parametrize("layer", MAKING.values(), ids=MAKING)
def test_layers_that_make_channels_out_of_channels(layer: Any) -> None:
    graph = graph_of(lambda x: conv(layer()(conv(x, 4, "a")), 2, "end"))
    np.testing.assert_array_equal(graph.reads["it"], graph.makes["a"])
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["it"])
    assert free(graph, "a") + free(graph, "it") == [True] * 9
    apart(graph, "a", "it")


@pytest.mark.parametrize("softmax", ["softmax", lambda x: x / ops.sum(x, -1, keepdims=True)], ids=["softmax", "own"])
def test_mixing_at_the_end_of_a_layer_keeps_what_it_makes_alone(softmax: Any) -> None:
    def build(x: Any) -> Any:
        x = conv(conv(x, 4, "a"), 3, "inner", activation=softmax)
        return layers.Dense(2, softmax, name="end")(conv(x, 4, "b"))

    graph = graph_of(build)
    name = getattr(softmax, "__name__", softmax)
    assert graph.kept_layers() == {
        "inner": f"inner ends in {name}, which may mix channels",
        "end": f"end ends in {name}, which may mix channels",
    }


class MyConv(keras.layers.Conv2D):  # type: ignore[misc]
    """Sums its inputs before it filters them."""

    def call(self, inputs: Any) -> Any:
        return super().call(ops.cumsum(inputs, axis=-1))


class Shuffle(keras.layers.Layer):  # type: ignore[misc]
    """The channels backwards."""

    def call(self, inputs: Any) -> Any:
        return ops.flip(inputs, axis=-1)


def lora(x: Any) -> Any:
    dense = layers.Dense(4, name="it")
    result = dense(x)
    dense.enable_lora(2)
    return result


MIXING: dict[str, tuple[Any, str]] = {
    "layer norm": (layers.LayerNormalization(name="it"), "is a LayerNormalization, whose channels are not followed"),
    "group norm": (layers.GroupNormalization(2, name="it"), "is a GroupNormalization, whose channels"),
    "softmax": (layers.Softmax(name="it"), "is a Softmax, whose"),
    "softmax activation": (layers.Activation("softmax", name="it"), "ends in softmax, which may mix channels"),
    "own function": (layers.Activation(lambda x: ops.cumsum(x, -1), name="it"), "ends in <lambda>, which may mix"),
    "own layer": (Shuffle(name="it"), "is a Shuffle, whose"),
    "own kind of convolution": (MyConv(4, 1, name="it"), "is a MyConv, whose"),
    "lambda": (layers.Lambda(lambda x: x[..., ::-1], name="it"), "is a Lambda, whose"),
    "norm over rows": (layers.BatchNormalization(axis=1, name="it"), "normalises axis 1, not the last"),
    "rescaling by channel": (layers.Rescaling([1, 2, 3, 4], name="it"), "has a factor for each channel"),
    "permuted": (layers.Permute((3, 1, 2), name="it"), "moves the channels to another axis"),
    "apart": (layers.Reshape((8, 8, 2, 2), name="it"), "takes channels apart"),
    "wrapped": (layers.TimeDistributed(layers.Dense(4), name="it"), "is a TimeDistributed, whose"),
    "first": (layers.Conv2D(4, 3, data_format="channels_first", name="it"), "has its channels first"),
    "depthwise first": (layers.DepthwiseConv2D(3, data_format="channels_first", name="it"), "has its channels first"),
    "pooling first": (layers.MaxPooling2D(data_format="channels_first", name="it"), "has its channels first"),
    "flatten first": (layers.Flatten(data_format="channels_first", name="it"), "has its channels first"),
    "depthwise softmax": (layers.DepthwiseConv2D(3, activation="softmax", name="it"), "ends in softmax, which"),
    "dropout by shape": (layers.Dropout(0.5, noise_shape=(1, 1, 1, 4), name="it"), "drops by a shape with a fixed"),
    "lora": (lora, "has weights of another form (LoRA or quantised)"),
    "ops.softmax": (ops.softmax, "is keras.ops' Softmax, whose channels are not followed"),
    "ops.flip": (lambda x: ops.flip(x, -1), "is keras.ops' Flip, whose"),
    "ops.mean of channels": (lambda x: ops.mean(x, -1, keepdims=True), "makes one number of all channels"),
    "ops.max of all": (lambda x: ops.max(x, keepdims=True), "makes one number of all channels"),
    "ops.transpose": (lambda x: ops.transpose(x, (0, 3, 1, 2)), "moves the channels to another axis"),
    "ops.pad of channels": (lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, 2))), "adds channels"),
    "ops.split at places": (lambda x: ops.split(x, [1], axis=-1)[0], "cuts the channels at fixed places"),
    "ops.expand_dims": (lambda x: ops.expand_dims(x, -1), "puts an axis behind the channels"),
    "ops.squeeze": (lambda x: ops.squeeze(ops.mean(x, 1, keepdims=True)), "may take the channel axis away"),
    "a number for each": (lambda x: x + np.arange(4, dtype=np.float32), "takes a constant with a number for each"),
    "a limit for each": (
        lambda x: ops.clip(x, [0.0] * 4, [1.0] * 4),
        "takes a constant with a number for each channel",
    ),
    "other axes": (lambda x: x + ops.mean(conv(x, 4, "b"), (1, 2, 3)), "joins tensors whose channels do not meet"),
}


@pytest.mark.parametrize(("layer", "reason"), MIXING.values(), ids=MIXING)
def test_layers_that_mix_channels_keep_them_and_say_so(layer: Any, reason: str) -> None:
    graph = graph_of(lambda x: layers.Dense(2, name="end")(layer(conv(x, 4, "a"))))
    assert reason in graph.kept_layers()["a"]
    assert not graph.free()[graph.reads["end"]].any()


def test_a_recurrent_layer_keeps_its_inputs_and_outputs() -> None:
    def build(x: Any) -> Any:
        sequence, state, _ = layers.LSTM(5, return_sequences=True, return_state=True, name="lstm")(
            layers.Conv1D(4, 3, name="a")(x)
        )
        return [
            layers.Dense(2, name="end")(layers.Conv1D(6, 1, name="b")(sequence)),
            layers.Dense(2, name="two")(state),
        ]

    graph = graph_of(build, 8, 3)
    followed = "lstm is a LSTM, whose channels are not followed"
    assert graph.kept_layers() == {
        "a": followed,
        "lstm": followed,
        "end": "end is an output of the network",
        "two": "two is an output of the network",
    }
    assert free(graph, "b") == [True] * 6
    assert len(graph.makes["lstm"]) == 15


def test_a_sequence_with_a_mask() -> None:
    def build(x: Any) -> Any:
        x = layers.Masking(name="masking")(layers.Dense(4, name="a")(x))
        return layers.Dense(2, name="end")(layers.LSTM(5, name="lstm")(layers.BatchNormalization()(x)))

    graph = graph_of(build, 8, 3)
    # Keras makes the mask of them in front of the layer.
    assert graph.kept_layers()["a"].endswith(" makes one number of all channels")
    assert reasons(graph, "masking") == {"masking is a Masking, whose channels are not followed"}
    assert not any(free(graph, "lstm"))


def test_conv1d_is_followed() -> None:
    def build(x: Any) -> Any:
        x = layers.MaxPooling1D()(layers.Conv1D(4, 3, padding="causal", name="a")(x))
        x = layers.DepthwiseConv1D(3, name="deep")(layers.UpSampling1D()(layers.ZeroPadding1D()(x)))
        return layers.Dense(2, name="end")(layers.GlobalAveragePooling1D()(layers.SpatialDropout1D(0.1)(x)))

    graph = graph_of(build, 16, 3)
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["a"])
    assert all(free(graph, "a"))


def test_a_mask_is_no_tensor_of_channels() -> None:
    def build(x: Any) -> Any:
        features = layers.Conv1D(4, 1, name="a")(x)
        mask = layers.Dense(8, name="mask")(layers.Flatten()(layers.Conv1D(5, 1, name="b")(x))) > 0
        return layers.Dense(2, name="end")(layers.GlobalAveragePooling1D(name="mean")(features, mask=mask))

    graph = graph_of(build, 8, 3)
    assert graph.kept_layers()["mask"] == "mean reads it as something else than channels, such as a mask"
    assert all(free(graph, "a") + free(graph, "b"))


def test_a_network_with_its_channels_first_keeps_them() -> None:
    def build(x: Any) -> Any:
        first = {"data_format": "channels_first"}
        a = layers.BatchNormalization(axis=1, name="norm")(layers.Conv2D(4, 1, name="a", **first)(x))
        b = layers.ReLU()(layers.SeparableConv2D(4, 1, name="b", **first)(a))
        x = layers.Concatenate(axis=1)([layers.Add()([a, b]), layers.DepthwiseConv2D(1, **first)(b)])
        x = layers.UpSampling2D(**first)(layers.Conv2DTranspose(6, 1, name="c", **first)(x))
        x = layers.Dense(5, name="d")(layers.GlobalAveragePooling2D(**first)(x))
        return layers.Dense(2, name="end")(x)

    graph = graph_of(build, 3, 8, 8)
    assert set(graph.kept_layers()) == {"a", "norm", "b", "c", "end"}
    assert graph.kept_layers()["c"] == "c has its channels first"
    assert free(graph, "d") == [True] * 5


def test_a_width_that_is_not_known_keeps_its_channels() -> None:
    graph = graph_of(lambda x: layers.Reshape((8, -1), name="rows")(conv(x, 4, "a")), 8, None, 3)
    assert graph.kept_layers()["a"] == "rows has a number of channels that is not known"
