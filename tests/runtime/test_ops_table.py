"""Reasons for ops that no layer of a usual network makes: each is rebuilt alone between two ops that XNNPACK takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from runtime.engine import Engine
from runtime.ops import list_ops
from tests.runtime.op_nets import Int8Net

SHAPE = (1, 8, 8, 16)


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def options(name: str, **fields: Any) -> Any:
    made = getattr(schema, f"{name}OptionsT")()
    for field, value in fields.items():
        setattr(made, field, value)
    return made


# Op, shape of what it writes, its constants, its options, further arguments, and what the reason says.
LEFT_OUT: dict[str, tuple[tuple[int, ...], list[np.ndarray], Any, dict[str, Any], str]] = {
    "RELU": (SHAPE, [], None, {}, "fused"),
    "RELU6": (SHAPE, [], None, {}, "fused"),
    "RELU_N1_TO_1": (SHAPE, [], None, {}, "fused"),
    "GELU": (SHAPE, [], options("Gelu"), {}, "SiLU"),
    "SQRT": (SHAPE, [], None, {}, "no int8 SQRT"),
    "RSQRT": (SHAPE, [], None, {}, "no int8 RSQRT"),
    "ABS": (SHAPE, [], options("Abs"), {}, "no int8 ABS"),
    "NEG": (SHAPE, [], options("Neg"), {}, "multiply by -1"),
    "DIV": (SHAPE, [], options("Div"), {"times": 2}, "reciprocal"),
    "SQUARED_DIFFERENCE": (SHAPE, [], options("SquaredDifference"), {"times": 2}, "MUL with itself"),
    "LOG_SOFTMAX": (SHAPE, [], options("LogSoftmax"), {"scale": 16 / 256, "zero_point": 127}, "decoder"),
    "L2_NORMALIZATION": (SHAPE, [], options("L2Norm"), {"scale": 1 / 128}, "decoder"),
    "GATHER": ((1, 2, 8, 16), [integers(0, 1)], options("Gather", axis=1), {}, "slice"),
    "REVERSE_V2": (SHAPE, [integers(1)], options("ReverseV2"), {}, "weights"),
    "PACK": ((2, *SHAPE), [], options("Pack", valuesCount=2, axis=0), {"times": 2}, "CONCATENATION"),
    "UNPACK": (SHAPE[1:], [], options("Unpack", num=1, axis=0), {}, "SPLIT"),
    "SPACE_TO_BATCH_ND": (
        (4, 4, 4, 16),
        [integers(2, 2), np.zeros((2, 2), np.int32)],
        options("SpaceToBatchND"),
        {},
        "dilat",
    ),
    "BATCH_TO_SPACE_ND": (SHAPE, [integers(1, 1), np.zeros((2, 2), np.int32)], options("BatchToSpaceND"), {}, "dilat"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_op_left_out_is_named_with_its_reason(name: str, tmp_path: Path) -> None:
    shape, constants, how, more, reason = LEFT_OUT[name]
    net = Int8Net(SHAPE)
    net.double()
    net.add(name, shape, *constants, options=how, **more)
    net.graph.outputs = [net.double()]
    listed = list_ops(Engine(net.write(tmp_path / "net.tflite")))
    left = {op.name: op.reason for op in listed.ops if not op.delegated}
    assert list(left) == [name]
    assert reason in left[name]


def alone(kind: str, out: Any, path: Path, axis: int, how: Any) -> dict[str, str]:
    """Reasons where a net ends in an op that writes whole numbers."""
    net = Int8Net(SHAPE)
    net.double()
    which = net.constant("axis", integers(axis))
    found = net.tensor("found", (1, 8, 8), out)
    net.op(kind, [net.last, which], [found], how)
    net.graph.outputs = [found]
    return {op.name: op.reason for op in list_ops(Engine(net.write(path / "net.tflite"))).ops if not op.delegated}


@pytest.mark.parametrize("kind", ["ARG_MAX", "ARG_MIN"])
def test_choice_of_the_best_is_named_as_such(kind: str, tmp_path: Path) -> None:
    """It reads int8, so that the type of what it writes is not the point."""
    how = options("ArgMax" if kind == "ARG_MAX" else "ArgMin", outputType=schema.TensorType.INT32)
    left = alone(kind, np.int32, tmp_path, 3, how)
    assert left == {kind: f"XNNPACK has no {kind}; give the scores out and choose in the decoder"}


def test_types_that_xnnpack_does_not_know(tmp_path: Path) -> None:
    """A sum of whole numbers: what it reads is named; a change into whole numbers: what it writes."""
    net = Int8Net(SHAPE)
    net.double()
    whole, twice = net.tensor("whole", SHAPE, np.int32), net.tensor("twice", SHAPE, np.int32)
    net.op("CAST", [net.last], [whole], options("Cast"))
    net.op("ADD", [whole, whole], [twice], options("Add"))
    net.graph.outputs = [twice]
    left = {op.name: op.reason for op in list_ops(Engine(net.write(tmp_path / "net.tflite"))).ops if not op.delegated}
    assert left["CAST"].startswith("writes int32, which XNNPACK does not compute with")
    assert left["ADD"].startswith("reads int32, which XNNPACK does not compute with")


# What the reasons and the names of the ops above recommend instead.
TAKEN: dict[str, tuple[tuple[int, ...], list[np.ndarray], Any, dict[str, Any]]] = {
    "MUL": (SHAPE, [np.full((1, 1, 1, 16), -20, np.int8)], options("Mul"), {}),
    "SUB": (SHAPE, [], options("Sub"), {"times": 2}),
    "SLICE": ((1, 4, 4, 16), [integers(0, 0, 0, 0), integers(1, 4, 4, 16)], options("Slice"), {}),
    "RESHAPE": ((1, 64, 16), [integers(1, 64, 16)], options("Reshape", newShape=[1, 64, 16]), {}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_recommended_instead_is_taken(name: str, tmp_path: Path) -> None:
    shape, constants, how, more = TAKEN[name]
    net = Int8Net(SHAPE)
    net.double()
    net.add(name, shape, *constants, options=how, **more)
    net.graph.outputs = [net.double()]
    listed = list_ops(Engine(net.write(tmp_path / "net.tflite")))
    assert [op.name for op in listed.ops if not op.delegated] == []
