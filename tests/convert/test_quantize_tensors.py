"""Which tensors are int8 and which share a scale: by hand, and against what the converter really does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from convert.models.layers import ChannelGroup, EdgePadding, Mish, NearestUpsample
from convert.quantize.fake_quant import nudged
from convert.quantize.fold import fold_norms
from convert.quantize.ptq import Options, Quantized
from convert.quantize.tensors import plan_tensors
from tests.convert.small_nets import (
    INT8,
    Build,
    activations,
    conv,
    int8_file,
    make,
    pictures,
    quantised,
    read_ops,
    relu,
    run,
    run_file,
)

layers = keras.layers
QUICK = Options(refit=False)
LOGISTIC, TANH = (0.0, 255 / 256), (-1.0, 127 / 128)


def c(x: Any, name: str, filters: int = 4, **options: Any) -> Any:
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)(x)


def act(kind: str, name: str, x: Any) -> Any:
    return layers.Activation(kind, name=name)(x)


def concat(name: str, *parts: Any) -> Any:
    return layers.Concatenate(name=name)(list(parts))


def sums(x: Any) -> Any:
    a = c(x, "a")
    return c(layers.ReLU(name="r")(layers.Add(name="add")([a, c(a, "b")])), "end")


def nested(x: Any) -> Any:
    a, b, d = c(x, "a"), c(x, "b"), c(x, "d")
    return c(concat("outer", concat("inner", a, layers.ReLU(name="r")(b)), layers.MaxPooling2D(1)(d)), "end")


def shared_producer(x: Any) -> Any:
    a, b, d = c(x, "a"), c(x, "b"), c(x, "d")
    return [c(concat("ab", a, b), "one"), c(concat("bd", b, d), "two")]


def pyramid(x: Any) -> Any:
    a = layers.LeakyReLU(0.1, name="leaky")(c(x, "a"))
    deep = layers.LeakyReLU(0.1, name="deep_leaky")(c(layers.MaxPooling2D()(a), "deep"))
    return c(concat("route", NearestUpsample()(deep), a), "end")


def two_outputs(x: Any) -> Any:
    a = c(x, "a")
    return [a, c(layers.ReLU(name="r")(a), "end")]


def mixed(x: Any) -> Any:
    return c(concat("cat", act("sigmoid", "s", c(x, "a")), c(x, "b"), x), "end")


# Points but the picture; groups of more than one; given ranges; gaps.
PLANS: dict[str, tuple[Build, list[str], list[set[str]], dict[str, tuple[float, float]], list[str]]] = {
    "fused relu": (lambda x: c(layers.ReLU(name="r")(c(x, "a")), "end"), ["r", "end"], [], {}, []),
    "fused relu6": (lambda x: c(layers.ReLU(6.0, name="r")(c(x, "a")), "end"), ["r", "end"], [], {}, []),
    "relu inside": (lambda x: c(c(x, "a", activation="relu"), "end"), ["a_activation", "end"], [], {}, []),
    "relu of another size": (
        lambda x: c(layers.ReLU(2.0, name="r")(c(x, "a")), "end"),
        ["a", "r", "end"],
        [],
        {},
        ["r"],
    ),
    "leaky": (lambda x: c(layers.LeakyReLU(0.1, name="l")(c(x, "a")), "end"), ["a", "l", "end"], [], {}, []),
    "add and relu": (sums, ["a", "b", "r", "end"], [], {}, []),
    "relu read twice": (two_outputs, ["a", "r", "end"], [], {}, []),
    "nested concatenation": (nested, ["a", "r", "d", "end"], [{"a", "r", "d"}], {}, []),
    "shared producer": (shared_producer, ["a", "b", "d", "one", "two"], [{"a", "b", "d"}], {}, []),
    "pyramid": (pyramid, ["a", "leaky", "deep", "deep_leaky", "end"], [{"leaky", "deep_leaky"}], {}, []),
    "split": (
        lambda x: c(ChannelGroup(2, 1, name="part")(c(x, "a")), "end"),
        ["a", "part", "end"],
        [{"a", "part"}],
        {},
        [],
    ),
    "edges": (
        lambda x: c(EdgePadding((1, 1), (0, 0))(layers.ZeroPadding2D(1)(c(x, "a"))), "end"),
        ["a", "end"],
        [],
        {},
        [],
    ),
    "sigmoid": (lambda x: act("sigmoid", "s", c(x, "a")), ["a", "s"], [], {"s": LOGISTIC}, []),
    "tanh": (lambda x: act("tanh", "t", c(x, "a")), ["a", "t"], [], {"t": TANH}, []),
    "softmax": (lambda x: act("softmax", "s", c(x, "a")), ["a", "s"], [], {"s": LOGISTIC}, []),
    "softmax layer": (lambda x: layers.Softmax(name="s")(c(x, "a")), ["a", "s"], [], {"s": LOGISTIC}, []),
    "sigmoid inside": (
        lambda x: c(x, "a", activation="sigmoid"),
        ["a", "a_activation"],
        [],
        {"a_activation": LOGISTIC},
        [],
    ),
    "silu": (lambda x: c(act("silu", "s", c(x, "a")), "end"), ["a", "s", "end"], [], {}, ["s"]),
    "mish": (lambda x: c(Mish(name="m")(c(x, "a")), "end"), ["a", "m", "end"], [], {}, ["m"]),
    "kept norm": (
        lambda x: c(layers.BatchNormalization(name="n")(layers.MaxPooling2D()(c(x, "a"))), "end"),
        ["a", "n", "end"],
        [],
        {},
        ["n"],
    ),
    "average pooling": (
        lambda x: c(layers.AveragePooling2D(2, name="p")(c(x, "a")), "end"),
        ["a", "p", "end"],
        [{"a", "p"}],
        {},
        [],
    ),
    "pooled picture": (
        lambda x: c(layers.AveragePooling2D(2, name="p")(x), "end"),
        ["p", "end"],
        [{"image", "p"}],
        {},
        [],
    ),
    "two of one given scale": (
        lambda x: concat("cat", act("sigmoid", "s", c(x, "a")), act("sigmoid", "t", c(x, "b"))),
        ["a", "s", "b", "t"],
        [{"s", "t"}],
        {"s": LOGISTIC, "t": LOGISTIC},
        [],
    ),
    "given scales beside a free one": (mixed, ["a", "s", "b", "cat", "end"], [{"b", "cat"}], {"s": LOGISTIC}, []),
    "dense": (
        lambda x: layers.Dense(3, name="d")(layers.GlobalAveragePooling2D(name="g")(layers.ReLU(name="r")(c(x, "a")))),
        ["r", "g", "d"],
        [],
        {},
        [],
    ),
    "reshaped outputs": (
        lambda x: layers.Concatenate(axis=1)([layers.Reshape((-1, 4))(c(x, "a")), layers.Reshape((-1, 4))(c(x, "b"))]),
        ["a", "b"],
        [{"a", "b"}],
        {},
        [],
    ),
}


@pytest.mark.parametrize(("build", "points", "groups", "fixed", "gaps"), PLANS.values(), ids=PLANS)
def test_plans(build: Build, points: list[str], groups: list[set[str]], fixed: dict[str, Any], gaps: list[str]) -> None:
    plan = plan_tensors(fold_norms(make(build, 8, 8)))
    assert plan.points[0] == "image"
    assert set(plan.inner) == set(points)
    assert len(plan.inner) == len(points)
    assert sorted(sorted(each) for each in plan.members().values() if len(each) > 1) == sorted(map(sorted, groups))
    assert dict(plan.fixed) == fixed
    assert list(plan.gaps) == gaps
    assert set(plan.group) == set(plan.points)


def everything(x: Any) -> Any:
    """Chains, sums, nested concatenations, up and down, a split, and outputs of three kinds."""
    a = layers.LeakyReLU(0.1)(conv(x, 8))
    b = relu(layers.DepthwiseConv2D(3, padding="same")(relu(conv(a, 8), 6.0)))
    total = relu(layers.Add()([conv(b, 8), a]))
    low = layers.LeakyReLU(0.1)(conv(layers.MaxPooling2D()(total), 8))
    half = ChannelGroup(2, 0)(low)
    inner = layers.Concatenate()([conv(half), relu(conv(half))])
    outer = layers.Concatenate()([layers.ZeroPadding2D(1)(inner), layers.ZeroPadding2D(1)(conv(low))])
    up = layers.Concatenate()([NearestUpsample()(conv(outer, 4, padding="valid")), total])
    gate = layers.Activation("sigmoid")(conv(up, 8))
    gated = layers.Multiply()([gate, conv(up, 8)])
    return [conv(gated, 5), layers.Activation("tanh")(conv(low, 3)), layers.Dense(4)(layers.Flatten()(low))]


def scales_with_the_source(x: Any) -> Any:
    x = layers.AveragePooling2D(2)(relu(conv(x, 8)))
    x = layers.UpSampling2D(2, interpolation="bilinear")(conv(x, 6))
    x = layers.Cropping2D(1)(layers.UpSampling2D(2)(conv(x, 6, strides=2)))
    x = layers.Permute((2, 1, 3))(conv(x, 6))
    return [conv(x, 4), layers.Dense(3)(layers.GlobalMaxPooling2D()(conv(x, 4)))]


def all_pinned(x: Any) -> Any:
    gates = layers.Concatenate()([layers.Activation("sigmoid")(conv(x)), layers.Activation("sigmoid")(conv(x, 2))])
    both = layers.Concatenate()([x, layers.AveragePooling2D(3, 1, "same")(x)])
    return conv(layers.Concatenate()([gates, both, relu(conv(x)), conv(x)]))


FILES: dict[str, tuple[Build, int]] = {
    # Name: network and QUANTIZE ops: one for each tensor of a given scale that joins others.
    "everything": (everything, 0),
    "scales with the source": (scales_with_the_source, 0),
    "given scales in a concatenation": (all_pinned, 2),
}


@pytest.fixture(scope="module", params=FILES)
def file(request: pytest.FixtureRequest) -> tuple[Quantized, bytes, int]:
    build, conversions = FILES[request.param]
    net = quantised(make(build, 16, 16), QUICK)
    return net, int8_file(net), conversions


def same(scale: float, zero: int, other: tuple[float, int]) -> bool:
    return abs(scale / other[0] - 1) < 1e-5 and zero == other[1]


def test_the_file_has_the_planned_scales_and_no_others(file: tuple[Quantized, bytes, int]) -> None:
    net, data, conversions = file
    ops = read_ops(data)
    planned = [nudged(*range_) for range_ in net.ranges.values()]
    found = activations(ops)
    assert {tensor.type for tensor in found} == {INT8}
    for tensor in found:
        assert any(same(tensor.scale, tensor.zero, each) for each in planned), tensor.name
    for scale, zero in planned:
        assert any(same(tensor.scale, tensor.zero, (scale, zero)) for tensor in found), (scale, zero)
    assert [op.name for op in ops].count("QUANTIZE") == conversions
    assert not [op.name for op in ops if op.name == "DEQUANTIZE"]


def test_a_part_of_the_channels_is_always_int8() -> None:
    """The converter used to toss a coin."""
    net = quantised(make(lambda x: conv(ChannelGroup(2, 0)(layers.LeakyReLU(0.1)(conv(x, 8)))), 8, 8), QUICK)
    for _ in range(3):
        assert [op.name for op in read_ops(int8_file(net))] == ["CONV_2D", "LEAKY_RELU", "SPLIT", "CONV_2D"]


def test_what_is_joined_has_one_scale(file: tuple[Quantized, bytes, int]) -> None:
    joins = [op for op in read_ops(file[1]) if op.name == "CONCATENATION"]
    for op in joins:
        assert len({(tensor.scale, tensor.zero) for tensor in (*op.inputs, *op.outputs)}) == 1


def test_every_tensor_sits_where_the_plan_says(file: tuple[Quantized, bytes, int]) -> None:
    """The converter names a tensor after the layers it was made of; that is enough to find each convolution's."""
    net, data, _ = file
    for op in read_ops(data):
        if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "LEAKY_RELU", "FULLY_CONNECTED"):
            continue
        out = op.outputs[0]
        names = {part.split("/")[1] for part in out.name.split(";") if part.count("/") >= 2}
        points = [point for point in net.plan.inner if {point, f"{point}_1", f"{point}_2"} & names]
        if points:
            assert any(same(out.scale, out.zero, nudged(*net.ranges[net.plan.group[point]])) for point in points), out


def test_outputs_by_name_and_value(file: tuple[Quantized, bytes, int]) -> None:
    net, data, _ = file
    picture = pictures(8)[7]
    results = run_file(data, picture)
    for index, expected in enumerate(run(net.simulation(), picture[None])):
        point = net.exact.outputs[index]._keras_history.operation.name
        values, scale = results[f"out{index}"]
        if point in net.plan.group:
            assert scale == pytest.approx(nudged(*net.ranges[net.plan.group[point]])[0], rel=1e-5)
        # Steps apart: whole ones that add up behind a dozen layers.
        apart = np.abs(values - expected) / scale
        assert apart.mean() < 1
        assert apart.max() < 12
