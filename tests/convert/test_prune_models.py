"""Layers that are applied twice, models inside models, and what is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from convert.models.layers import ChannelGroup, NearestUpsample
from convert.prune.graph import channel_graph, unpacked
from runtime.errors import InputError
from tests.convert.prune_nets import apart, conv, free, graph_of, net, run, same, same_state, some, state

layers = keras.layers


class TestSharedLayers:
    def test_weights_used_twice_read_and_make_the_same_channels(self) -> None:
        def build(x: Any) -> Any:
            tower = layers.Conv2D(5, 3, name="tower")
            return [conv(tower(conv(x, 4, "a")), 2, "one"), conv(tower(conv(x, 4, "b")), 2, "two")]

        graph = graph_of(build)
        same(graph, "a", "b")
        np.testing.assert_array_equal(graph.reads["one"], graph.makes["tower"])
        np.testing.assert_array_equal(graph.reads["two"], graph.makes["tower"])
        assert free(graph, "a") + free(graph, "tower") == [True] * 9

    def test_behind_itself(self) -> None:
        def build(x: Any) -> Any:
            again = layers.Conv2D(4, 1, name="again")
            return conv(again(again(conv(x, 4, "a"))), 2, "end")

        graph = graph_of(build)
        same(graph, "a", "again")
        assert all(free(graph, "a"))

    @pytest.mark.parametrize(
        "make", [layers.BatchNormalization, lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), layers.PReLU]
    )
    def test_what_passes_channels_with_weights_ties_them(self, make: Any) -> None:
        def build(x: Any) -> Any:
            layer = make()
            return [conv(layer(conv(x, 4, "a")), 2, "one"), conv(layer(conv(x, 4, "b")), 2, "two")]

        graph = graph_of(build)
        same(graph, "a", "b")
        np.testing.assert_array_equal(graph.reads["one"], graph.reads["two"])
        assert all(free(graph, "a"))

    @pytest.mark.parametrize("make", [layers.ReLU, layers.MaxPooling2D, layers.Flatten, lambda: ChannelGroup(2, 0)])
    def test_without_weights_nothing_is_tied(self, make: Any) -> None:
        def build(x: Any) -> Any:
            layer, dense = make(), layers.Dense
            return [dense(2, name="one")(layer(conv(x, 4, "a"))), dense(2, name="two")(layer(conv(x, 6, "b")))]

        graph = graph_of(build)
        apart(graph, "a", "b")
        assert set(graph.reads["one"]) <= set(graph.makes["a"])
        assert set(graph.reads["two"]) <= set(graph.makes["b"])
        assert all(free(graph, "a") + free(graph, "b"))

    def test_sums_are_not_tied_to_each_other(self) -> None:
        def build(x: Any) -> Any:
            add = layers.Add()
            one, two = (add([conv(x, 4, f"{n}a"), conv(x, 4, f"{n}b")]) for n in "xy")
            return [conv(one, 2, "one"), conv(two, 2, "two")]

        graph = graph_of(build)
        same(graph, "xa", "xb")
        same(graph, "ya", "yb")
        apart(graph, "xa", "ya")

    def test_a_shape_names_channels_and_ties_them(self) -> None:
        def build(x: Any) -> Any:
            shape = layers.Reshape((16, 16), name="shape")
            a, b = conv(x, 4, "a"), conv(x, 4, "b")
            c = layers.MaxPooling2D()(conv(x, 16, "c"))
            end = layers.Dense(2, name="end")
            return [end(shape(each)) for each in (a, b)] + [layers.Dense(2)(layers.Reshape((16, 16))(c))]

        graph = graph_of(build)
        same(graph, "a", "b")
        assert all(free(graph, "a") + free(graph, "c"))

    def test_a_shape_for_tensors_of_other_widths_keeps_both(self) -> None:
        def build(x: Any) -> Any:
            shape = layers.Reshape((16, 16), name="shape")
            return [
                layers.Dense(2, name="one")(shape(conv(x, 4, "a"))),
                layers.Dense(2, name="two")(shape(layers.MaxPooling2D()(conv(x, 16, "b")))),
            ]

        graph = graph_of(build)
        reason = "shape is applied to tensors of different widths"
        assert graph.kept_layers().items() >= {"a": reason, "b": reason}.items()


def block(name: str, filters: int = 4) -> keras.Model:
    """A small functional model."""
    inner = keras.Input((8, 8, filters), name=f"{name}_in")
    x = layers.BatchNormalization(name=f"{name}_norm")(conv(inner, 5, f"{name}_a", 3))
    return keras.Model(inner, conv(layers.ReLU(name=f"{name}_relu")(x), filters, f"{name}_b"), name=name)


class TestModelsInside:
    def test_are_followed(self) -> None:
        graph = graph_of(lambda x: conv(layers.Add()([y := conv(x, 4, "a"), block("inner")(y)]), 2, "end"))
        same(graph, "a", "inner_b")
        same(graph, "inner_a", "inner_norm", "inner_relu")
        assert all(free(graph, "a") + free(graph, "inner_a"))
        assert not any(isinstance(layer, keras.Model) for layer in graph.model.layers)

    def test_sequential_ones_too(self) -> None:
        parts = [layers.Conv2D(5, 3, name="inner"), layers.Flatten()]
        graph = graph_of(lambda x: layers.Dense(2, name="end")(keras.Sequential(parts)(conv(x, 4, "a"))))
        np.testing.assert_array_equal(graph.reads["end"], np.tile(graph.makes["inner"], 36))
        assert all(free(graph, "a") + free(graph, "inner"))

    def test_used_twice_share_their_channels(self) -> None:
        def build(x: Any) -> Any:
            inner = block("inner")
            return conv(layers.Add()([inner(conv(x, 4, "a")), inner(conv(x, 4, "b"))]), 2, "end")

        graph = graph_of(build)
        same(graph, "a", "b")
        assert len(set(graph.makes["inner_a"])) == 5
        assert [layer.name for layer in graph.model.layers].count("inner_a") == 1

    def test_inside_each_other(self) -> None:
        outer = keras.Input((8, 8, 4))
        middle = keras.Model(outer, keras.Sequential([block("deep"), layers.ReLU(name="last")])(outer), name="middle")
        graph = graph_of(lambda x: conv(middle(conv(x, 4, "a")), 2, "end"))
        same(graph, "deep_b", "last")
        assert all(free(graph, "deep_a"))

    def test_with_names_that_are_taken(self) -> None:
        """The same names twice inside, and once outside."""

        def part(name: str) -> keras.Model:
            return keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(4, 1, name="a")], name=name)

        graph = graph_of(lambda x: conv(part("two")(part("one")(conv(x, 4, "a"))), 2, "end"))
        assert [layer.name for layer, _ in graph.makers()] == ["a", "one_a", "two_a", "end"]

    def test_compute_the_same_as_before_and_stay_untouched(self) -> None:
        model = net(lambda x: conv(block("inner")(conv(x, 4, "a")), 2, "end"))
        before = state(model)
        flat = unpacked(model)
        same_state(before, state(model))
        np.testing.assert_array_equal(run(flat, some(model))[0], run(model, some(model))[0])
        assert [tensor.name for tensor in flat.inputs] == ["image"]

    def test_that_never_train_never_do(self) -> None:
        """``base(x, training=False)``, as when only a new head is trained."""
        model = net(lambda x: conv(block("inner")(conv(x, 4, "a"), training=False), 2, "end"))
        flat, (images,) = unpacked(model), some(model)
        still = np.asarray(flat(images))
        np.testing.assert_array_equal(still, np.asarray(flat(images, training=False)))
        assert np.abs(still - np.asarray(flat(images, training=True))).max() > 1e-3
        (node,) = (node for node in flat.get_layer("inner_norm")._inbound_nodes)
        assert node.arguments.kwargs["training"] is False

    def test_that_are_called_by_name(self) -> None:
        one, two = keras.Input((8, 8, 4), name="one"), keras.Input((8, 8, 4), name="two")
        inner = keras.Model([one, two], layers.Subtract()([conv(one, 4, "left"), conv(two, 4, "right")]), name="inner")
        graph = graph_of(lambda x: conv(inner({"two": conv(x, 4, "a"), "one": conv(x, 4, "b")}), 2, "end"))
        np.testing.assert_array_equal(graph.reads["left"], graph.makes["b"])
        np.testing.assert_array_equal(graph.reads["right"], graph.makes["a"])

    def test_that_convert_their_input(self) -> None:
        image = keras.Input((8, 8, 3), dtype="uint8", name="image")
        model = keras.Model(image, keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 1)])(image))
        pixels = np.full((1, 8, 8, 3), 200, np.uint8)
        np.testing.assert_array_equal(np.asarray(unpacked(model)(pixels)), np.asarray(model(pixels)))

    def test_none_inside_gives_the_same_layers(self) -> None:
        model = net(lambda x: conv(x, 4, "a"))
        assert unpacked(model) is model
        sequential = keras.Sequential([keras.Input((8, 8, 3), name="image"), layers.Conv2D(4, 1, name="a")])
        assert unpacked(sequential).get_layer("a") is sequential.get_layer("a")


def test_sequential_models_are_followed() -> None:
    parts = [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="a"), layers.Flatten(), layers.Dense(2, name="end")]
    graph = channel_graph(keras.Sequential(parts, name="mine"))
    np.testing.assert_array_equal(graph.reads["end"], np.tile(graph.makes["a"], 36))
    assert graph.kept_layers() == {"end": "end is an output of the network"}
    assert graph.model.name == "mine"


def test_several_inputs_and_outputs_one_of_which_is_read_further() -> None:
    one, two = keras.Input((8, 8, 3), name="one"), keras.Input((4, 4, 2), name="two")
    a, b = conv(one, 4, "a"), conv(two, 4, "b")
    middle = conv(layers.Add(name="sum")([a, NearestUpsample()(b)]), 5, "middle")
    graph = channel_graph(keras.Model({"one": one, "two": two}, [conv(middle, 2, "end"), middle]))
    same(graph, "a", "b", "sum")
    assert all(free(graph, "a"))
    assert graph.kept_layers() == {f"{name}": f"{name} is an output of the network" for name in ("middle", "end")}
    np.testing.assert_array_equal(graph.reads["end"], graph.makes["middle"])


def test_an_input_that_is_an_output() -> None:
    image = keras.Input((8, 8, 3), name="image")
    graph = channel_graph(keras.Model(image, [image, conv(conv(image, 4, "a"), 2, "end")]))
    assert all(free(graph, "a"))


def test_a_part_of_a_larger_network() -> None:
    """Layers of which only some places belong to the model."""
    image = keras.Input((8, 8, 3))
    first, relu = conv(image, 4, "outside"), layers.ReLU()
    middle = relu(conv(first, 5, "a"))
    part = keras.Model(first, conv(middle, 2, "end"))
    conv(relu(middle), 3, "later")
    graph = channel_graph(part)
    assert free(graph, "a") == [True] * 5
    assert "outside" not in graph.makes
    assert "later" not in graph.makes


class Written(keras.Model):  # type: ignore[misc]
    """A sub-classed model."""

    def __init__(self) -> None:
        super().__init__(name="written")
        self.layer = layers.Conv2D(4, 1)

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs)


class Overridden(keras.Model):  # type: ignore[misc]
    """Connected like a functional model, but computes something else."""

    def call(self, inputs: Any) -> Any:
        return -super().call(inputs)


def overridden(x: Any) -> Any:
    return Overridden(x, conv(x, 4, "a"), name="written")


@pytest.mark.parametrize("make", [Written, lambda: overridden(keras.Input((8, 8, 3)))], ids=["written", "overridden"])
@pytest.mark.parametrize("nested", [False, True])
def test_sub_classed_models_are_refused(make: Any, nested: bool) -> None:
    model = make()
    model = net(lambda x: layers.ReLU()(model(x))) if nested else model
    with pytest.raises(InputError) as caught:
        channel_graph(model)
    kind = "Overridden" if make is not Written else "Written"
    assert str(caught.value) == (
        f"written is a sub-classed model ({kind}); expected functional or sequential models only: they say how their"
        " layers are connected; write it as keras.Model(inputs, outputs)"
    )


def test_a_model_with_its_own_training_alone_is_followed() -> None:
    class Trained(keras.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            raise NotImplementedError

    image = keras.Input((8, 8, 3))
    assert all(free(channel_graph(Trained(image, conv(conv(image, 4, "a"), 2, "end"))), "a"))


def test_models_that_were_never_built_are_refused() -> None:
    with pytest.raises(InputError, match=r"mine was never built; .*; put keras.Input\(shape\) in front"):
        channel_graph(keras.Sequential([layers.Conv2D(4, 1)], name="mine"))


def test_calls_that_cannot_be_unpacked_are_refused() -> None:
    with pytest.raises(InputError, match="inner is a model inside another, called with a tensor of 3 axes"):
        graph_of(lambda x: keras.Sequential([keras.Input((8, 8, 1)), layers.ReLU()], name="inner")(x), 8, 8)
    with pytest.warns(UserWarning, match="destroy the mask"):
        masked = net(lambda x: block("inner")(conv(x, 4, "a"), mask=ops.ones_like(x[..., 0])))
    with pytest.raises(InputError, match="inner is a model inside another, called with more than its inputs"):
        channel_graph(masked)
