"""Every precision: types, who runs the ops, and numbers near the float network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from convert.quantize import tflite
from convert.quantize.ptq import Quantized
from convert.quantize.tflite import Precision
from runtime.engine import Engine
from runtime.ops import OpList, list_ops
from tests.convert.small_nets import (
    conv,
    converted,
    decibels,
    make,
    pictures,
    quantised,
    read_ops,
    relu,
    run,
    run_file,
)

layers = keras.layers
TYPES = {code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
SIZE = 32


def net(x: Any) -> Any:
    """Wide enough for weights to be quantised one by one in every mode."""
    x = relu(conv(x, 32, strides=2))
    x = relu(layers.DepthwiseConv2D(3, padding="same")(x), 6.0)
    x = layers.Add()([conv(x, 32), x])
    return conv(layers.LeakyReLU(0.1)(conv(x, 32, 1)), 8, 1, name="head")


@pytest.fixture(scope="module")
def made() -> Quantized:
    return quantised(make(net, SIZE, SIZE), images=pictures(6, SIZE, SIZE))


PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "dynamic", "int16", "int8", "mixed")


@pytest.fixture(scope="module")
def files(made: Quantized) -> dict[str, bytes]:
    images = pictures(6, SIZE, SIZE)
    # Between the depthwise layer and the sum: these tensors stay float.
    leave = frozenset(point for point in made.plan.inner if point.startswith(("add", "leaky")))
    models = {"int8": made.simulation(), "mixed": made.simulation(leave=leave)}
    calibrated = {"int16": images}
    return {one: converted(models.get(one, made.exact), one, calibrated.get(one)) for one in PRECISIONS}


def weight_types(data: bytes) -> set[str]:
    return {TYPES[op.inputs[1].type] for op in read_ops(data) if op.name.endswith("CONV_2D")}


def listed(data: bytes, folder: Path) -> tuple[Engine, OpList]:
    path = folder / "net.tflite"
    path.write_bytes(data)
    engine = Engine(path)
    return engine, list_ops(engine)


@pytest.mark.parametrize(
    ("precision", "ends", "weights", "least"),
    [
        ("float32", np.float32, {"FLOAT32"}, 100),
        # Half-precision weights are read through DEQUANTIZE.
        ("float16", np.float32, {"FLOAT32"}, 50),
        # Layers of few weights stay float.
        ("dynamic", np.float32, {"INT8", "FLOAT32"}, 25),
        ("int16", np.float32, {"INT8"}, 30),
        ("int8", np.int8, {"INT8"}, 25),
        ("mixed", np.int8, {"INT8", "FLOAT32"}, 25),
    ],
)
def test_types_and_numbers(
    precision: str,
    ends: type,
    weights: set[str],
    least: float,
    files: dict[str, bytes],
    made: Quantized,
    tmp_path: Path,
) -> None:
    data = files[precision]
    engine, ops = listed(data, tmp_path)
    assert [spec.dtype for spec in (*engine.inputs, *engine.outputs)] == [np.dtype(ends)] * 2
    assert [spec.name for spec in (*engine.inputs, *engine.outputs)] == ["image", "out0"]
    assert weight_types(data) == weights
    if precision != "int16":
        assert ops.delegated == len(ops.ops), [op for op in ops.ops if not op.delegated]
        assert ops.partitions == 1
    picture = pictures(8, SIZE, SIZE)[7]
    found, _ = run_file(data, picture)["out0"]
    assert decibels(run(made.exact, picture[None])[0], found) > least


def test_sizes(files: dict[str, bytes]) -> None:
    sizes = {precision: len(data) for precision, data in files.items()}
    assert sizes["float16"] < 0.7 * sizes["float32"]
    assert sizes["int8"] < 0.5 * sizes["float32"]
    assert sizes["dynamic"] < 0.5 * sizes["float32"]


def test_activations_of_each_precision(files: dict[str, bytes]) -> None:
    def kinds(precision: str) -> set[str]:
        return {TYPES[tensor.type] for op in read_ops(files[precision]) for tensor in op.outputs}

    assert kinds("float32") == kinds("float16") == kinds("dynamic") == {"FLOAT32"}
    assert kinds("int8") == {"INT8"}
    assert kinds("mixed") == {"INT8", "FLOAT32"}
    assert "INT16" in kinds("int16")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_many_weights_are_written_another_way_and_come_out_the_same(
    made: Quantized, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    monkeypatch.setattr(tflite, "_MANY_WEIGHTS", 0)
    data = converted(made.simulation() if precision == "int8" else made.exact, precision)
    ops, others = (
        [(op.name, [each.type for each in op.inputs]) for op in read_ops(one)] for one in (data, files[precision])
    )
    assert ops == others
    picture = pictures(1, SIZE, SIZE)[0]
    for one, other in zip(run_file(data, picture).values(), run_file(files[precision], picture).values(), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
