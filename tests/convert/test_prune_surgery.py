"""A network without some channels computes what the whole one computes with zeros in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from convert.models.layers import ChannelGroup, NearestUpsample
from convert.prune.graph import ChannelGraph, Keep, channel_graph, unpacked
from convert.prune.surgery import cut, remove
from runtime.errors import InputError
from tests.convert.prune_nets import check, conv, difference, net, randomised, run, some, without
from tests.convert.prune_pieces import FROZEN, PIECES, piece_net

layers = keras.layers


@pytest.mark.parametrize("name", PIECES)
def test_what_is_left_computes_the_same(name: str) -> None:
    model = piece_net(PIECES[name])
    for seed in range(2):
        graph, _, _ = check(model, seed)
    assert (len(graph.kept_layers()) > 1) == (name in FROZEN)


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(seed: int) -> None:
    random = np.random.default_rng(seed)
    names = [name for name in PIECES if name not in FROZEN]

    def build(x: Any) -> Any:
        known = [conv(x, 6, None, 3), conv(x, 6, None)]
        for name in random.choice(names, 5, replace=False):
            one, two = (known[int(i)] for i in random.integers(len(known), size=2))
            result = PIECES[name](one, two)
            if len(result.shape) == 4 and result.shape[1:3] == (8, 8):
                known.append(result if result.shape[-1] == 6 else conv(result, 6, None))
        return [layers.Dense(4)(layers.Flatten()(each)) for each in known[-2:]]

    check(net(build, seed=seed), seed)


def test_sequences() -> None:
    def build(x: Any) -> Any:
        x = layers.PReLU()(layers.Conv1D(6, 3, padding="causal")(x))
        x = layers.DepthwiseConv1D(3, depth_multiplier=2)(layers.MaxPooling1D()(layers.ZeroPadding1D()(x)))
        x = layers.SeparableConv1D(5, 2)(layers.BatchNormalization()(x))
        x = layers.Conv1D(8, 1, groups=2)(layers.UpSampling1D()(layers.Conv1DTranspose(6, 2)(x)))
        return layers.Dense(2)(layers.GlobalAveragePooling1D()(x))

    for seed in range(3):
        check(net(build, 16, 3), seed)


def test_volumes() -> None:
    def build(x: Any) -> Any:
        x = layers.AveragePooling3D(2)(layers.Conv3D(6, 3, activation="relu")(x))
        return layers.Dense(2)(layers.Flatten()(layers.Conv3DTranspose(5, 2)(x)))

    check(net(build, 6, 6, 6, 2))


def test_inputs_without_a_size() -> None:
    def build(x: Any) -> Any:
        x = layers.BatchNormalization()(conv(x, 6, "a", 3, strides=2))
        return conv(layers.Multiply()([x, conv(layers.GlobalMaxPooling2D(keepdims=True)(x), 6)]), 2, "end")

    assert check(net(build, None, None, 3))[2].input.shape == (None, None, None, 3)


def test_models_inside_with_the_same_names() -> None:
    def part(x: Any, name: str) -> Any:
        inner = keras.Sequential([keras.Input((8, 8, 6)), layers.Conv2D(5, 3, name="a"), layers.Conv2D(6, 1, name="b")])
        inner.name = name
        return inner(x)

    model = net(lambda x: conv(part(conv(x, 6, "a"), "one"), 2, "end"))
    graph, _, pruned = check(unpacked(model))
    assert difference(run(model, some(model)), run(graph.model, some(model))) == 0
    assert [layer.name for layer in pruned.layers] == ["image", "a", "one_a", "b", "end"]


def test_nothing_removed_is_a_copy() -> None:
    model = piece_net(PIECES["squeeze and excite"])
    copy = remove(channel_graph(model), np.ones(channel_graph(model).classes, np.bool_))
    assert copy.get_config() == model.get_config()
    np.testing.assert_array_equal(run(copy, some(model))[0], run(model, some(model))[0])
    assert not set(map(id, copy.layers)) & set(map(id, model.layers))


def test_what_must_stay_does() -> None:
    model = net(lambda x: conv(layers.Softmax()(conv(x, 6, "a")), 4, "end"))
    graph = channel_graph(model)
    same = remove(graph, np.zeros(graph.classes, np.bool_))
    np.testing.assert_array_equal(run(same, some(model))[0], run(model, some(model))[0])


def test_a_layer_keeps_a_channel() -> None:
    graph = channel_graph(net(lambda x: conv(conv(x, 6, "a"), 4, "end")))
    with pytest.raises(InputError, match="a would lose all of its 6 channels; expected one to stay at least; remove"):
        remove(graph, np.zeros(graph.classes, np.bool_))
    keep = np.zeros(graph.classes, np.bool_)
    keep[graph.makes["a"][2]] = True
    assert remove(graph, keep).get_layer("a").filters == 1


def chosen(model: keras.Model, **gone: list[int]) -> tuple[ChannelGraph, Keep, keras.Model]:
    """Removes these channels of these layers."""
    graph = channel_graph(model)
    keep = np.ones(graph.classes, np.bool_)
    for name, places in gone.items():
        keep[graph.makes[name][places]] = False
    return graph, keep, remove(graph, keep)


def test_weights_and_statistics_of_what_stays_are_kept() -> None:
    model = net(lambda x: conv(layers.BatchNormalization(name="norm")(conv(x, 6, "a", 3)), 4, "end"))
    pruned = chosen(model, a=[0, 4])[2]
    stays = [1, 2, 3, 5]
    before, after = ({name: m.get_layer(name).get_weights() for name in ("a", "norm", "end")} for m in (model, pruned))
    for index in range(4):
        np.testing.assert_array_equal(after["norm"][index], before["norm"][index][stays])
    np.testing.assert_array_equal(after["a"][0], before["a"][0][..., stays])
    np.testing.assert_array_equal(after["a"][1], before["a"][1][stays])
    np.testing.assert_array_equal(after["end"][0], before["end"][0][:, :, stays])
    np.testing.assert_array_equal(after["end"][1], before["end"][1])
    assert {variable.dtype for variable in pruned.weights} == {"float32"}


def test_residual_layers_stay_of_one_width() -> None:
    def build(x: Any) -> Any:
        first = conv(x, 6, "a")
        second = layers.Add()([first, conv(conv(first, 5, "inner"), 6, "b")])
        return conv(layers.Add()([second, conv(second, 6, "c")]), 2, "end")

    pruned = chosen(net(build), c=[1, 3], inner=[0])[2]
    assert [pruned.get_layer(name).filters for name in ("a", "b", "c", "inner")] == [4, 4, 4, 4]


def test_groups_stay_whole() -> None:
    pruned = chosen(net(lambda x: conv(conv(conv(x, 6, "a"), 12, "grouped", groups=3), 2, "end")), grouped=[5])[2]
    grouped = pruned.get_layer("grouped")
    assert (pruned.get_layer("a").filters, grouped.filters, grouped.groups) == (4, 8, 2)
    assert grouped.kernel.shape == (1, 1, 2, 8)


def test_parts_stay_equal() -> None:
    pruned = chosen(net(lambda x: conv(ChannelGroup(2, 1, name="part")(conv(x, 8, "a")), 2, "end")), a=[1, 6])[2]
    assert pruned.get_layer("a").filters == 4
    assert pruned.get_layer("part").output.shape == (None, 8, 8, 2)


def test_flattened_pixels_lose_a_row_each() -> None:
    model = net(lambda x: layers.Dense(2, name="end")(layers.Flatten()(conv(x, 3, "a"))))
    pruned = chosen(model, a=[1])[2]
    before, after = (m.get_layer("end").get_weights()[0].reshape(64, -1, 2) for m in (model, pruned))
    np.testing.assert_array_equal(after, before[:, [0, 2]])


def test_shapes_are_cut() -> None:
    model = net(lambda x: layers.Dense(2)(layers.Reshape((8, -1), name="r")(conv(x, 6, "a"))))
    assert chosen(model, a=[1])[2].get_layer("r").target_shape == (8, 40)
    model = net(lambda x: layers.Dense(2)(layers.Reshape((-1, 12), name="r")(conv(x, 6, "a"))))
    assert chosen(model, a=[1])[2].get_layer("r").target_shape == (-1, 10)


def test_cut_tells_configuration_and_weights() -> None:
    model = net(lambda x: layers.SeparableConv2D(4, 3, depth_multiplier=2, name="s")(conv(x, 3, "a")))
    reads, makes = np.array([True, False, True]), np.array([True, True, False, True])
    config, arrays = cut(model.get_layer("s"), reads, makes)
    assert config["filters"] == 3
    assert [each.shape for each in arrays] == [(3, 3, 2, 2), (1, 1, 4, 3), (3,)]


def test_frozen_layers_stay_frozen() -> None:
    model = net(lambda x: conv(layers.BatchNormalization(name="norm")(conv(x, 6, "a")), 2, "end"))
    model.get_layer("norm").trainable = False
    pruned = chosen(model, a=[1])[2]
    assert [layer.trainable for layer in pruned.layers[1:]] == [True, False, True]


def test_structure_of_inputs_and_outputs_is_kept() -> None:
    left = keras.Input((8, 8, 3), batch_size=2, name="left")
    right = keras.Input((8, 8, 2), batch_size=2, name="right", dtype="uint8")
    scaled = layers.Rescaling(1 / 255)(right)
    both = layers.Concatenate()([conv(left, 4, "a"), conv(scaled, 5, "b")])
    outputs = {"box": conv(both, 4, "box"), "more": [both, conv(both, 3, "class")]}
    model = randomised(keras.Model({"left": left, "right": right}, outputs, name="two"))
    pruned = chosen(model)[2]
    assert pruned.name == "two"
    keras.tree.assert_same_structure(model.input, pruned.input)
    keras.tree.assert_same_structure(model.output, pruned.output)
    assert [(t.name, t.shape, t.dtype) for t in pruned.inputs] == [
        ("left", (2, 8, 8, 3), "float32"),
        ("right", (2, 8, 8, 2), "uint8"),
    ]


def test_names_of_inputs_survive_a_sequential_model() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3), name="image"), layers.Conv2D(6, 1, name="a"), layers.Conv2D(2, 1)])
    pruned = check(randomised(model))[2]
    assert pruned.input.name == "image"


def test_several_inputs_and_an_output_that_is_read_further() -> None:
    one, two = keras.Input((8, 8, 3), name="one"), keras.Input((4, 4, 2), name="two")
    a, b = conv(one, 6, "a"), NearestUpsample()(conv(two, 6, "b"))
    middle = conv(layers.Add()([a, b]), 5, "middle")
    last = conv(conv(middle, 6, "c"), 2, "end")
    _, _, pruned = check(randomised(keras.Model([one, two], [last, middle])))
    assert pruned.get_layer("middle").filters == 5
    assert pruned.get_layer("c").filters < 6


def test_a_model_that_never_trains_never_does() -> None:
    model = piece_net(PIECES["model that never trains"])
    graph, _, pruned = check(model)
    (images,) = some(model)
    np.testing.assert_array_equal(np.asarray(pruned(images)), np.asarray(pruned(images, training=False)))
    assert [node.arguments.kwargs.get("training") for layer in pruned.layers for node in layer._inbound_nodes].count(
        False
    ) == sum(isinstance(layer, layers.BatchNormalization) for layer in graph.model.layers)


SAVED = ("squeeze and excite by ops", "part", "split", "grouped", "mish", "nearest", "edges", "twice a convolution")


@pytest.mark.parametrize("name", [*SAVED, "twice a model", "reshaped by ops", "separable"])
def test_the_result_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    _, _, pruned = check(piece_net(PIECES[name]))
    pruned.save(tmp_path / "pruned.keras")
    loaded = keras.models.load_model(tmp_path / "pruned.keras")
    np.testing.assert_array_equal(run(loaded, some(loaded))[0], run(pruned, some(pruned))[0])
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in pruned.layers]


def test_the_result_is_pruned_again() -> None:
    pruned = check(piece_net(PIECES["residual"]), share=0.2)[2]
    again = check(pruned, seed=1, share=0.2)[2]
    assert again.count_params() < pruned.count_params()


def test_the_result_trains() -> None:
    pruned = check(piece_net(PIECES["norm"]))[2]
    pruned.compile("sgd", "mse")
    before = [np.asarray(layer.kernel) for layer in (pruned.get_layer("a"), pruned.get_layer("end"))]
    pruned.fit(some(pruned)[0], np.zeros((2, 8, 8, 4), np.float32), verbose=0)
    for old, name in zip(before, ("a", "end"), strict=True):
        assert np.abs(np.asarray(pruned.get_layer(name).kernel) - old).max() > 1e-5


class Unsaved(keras.layers.Layer):  # type: ignore[misc]
    """Does not say how it is built."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__(name="unsaved")
        self.table = table

    def call(self, inputs: Any) -> Any:
        return inputs + self.table


def own(x: Any) -> Any:
    """An activation that nobody registered."""
    return x * 2


@pytest.mark.parametrize(
    ("layer", "seen"),
    [
        (Unsaved(np.zeros(6, np.float32)), r"unsaved \(Unsaved\) cannot be copied \(NotImplementedError\)"),
        (layers.Dense(6, own, name="dense"), r"dense \(Dense\) cannot be copied \(TypeError\)"),
    ],
)
def test_layers_that_cannot_be_built_again_are_refused(layer: Any, seen: str) -> None:
    graph = channel_graph(net(lambda x: conv(layer(conv(x, 6, "a")), 2, "end")))
    with pytest.raises(
        InputError, match=f"^{seen}; expected a layer that Keras can build again .*; give it get_config"
    ):
        remove(graph, np.ones(graph.classes, np.bool_))


def test_the_oracle_sees_channels_that_were_not_followed() -> None:
    """Where channels are mixed and nobody said so, NaN comes out."""
    model = net(lambda x: conv(layers.Softmax()(conv(x, 6, "a")), 4, "end"))
    gone = {"a": np.arange(6) < 2}
    with pytest.raises(AssertionError):
        without(net(lambda x: layers.Softmax()(conv(x, 6, "a"))), gone, some(model))
    whole = without(model, {}, some(model))
    assert difference(run(model, some(model)), whole) == 0
