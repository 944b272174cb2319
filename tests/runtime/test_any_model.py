"""``info``, ``bench --inference-only`` and ``bench --ops`` take any file: several inputs and outputs, every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from runtime.cli import main
from runtime.engine import Engine
from tests.foreign_nets import ForeignNet

FORMATS: dict[str, tuple[Any, float, int]] = {
    "int8": (np.int8, 0.5, -3),
    "uint8": (np.uint8, 0.5, 128),
    "int16": (np.int16, 0.25, 0),
    "float32": (np.float32, 0.0, 0),
    "float16": (np.float16, 0.0, 0),
}


def net(path: Path, name: str) -> Path:
    """Two inputs of a format, two outputs of that format: both the other way round, through ops that only move."""
    dtype, scale, zero_point = FORMATS[name]
    made = ForeignNet(dtype=dtype, scale=scale, zero_point=zero_point, shape=(1, 4, 6, 2))
    second = made.tensor("second", (1, 6), dtype, scale, zero_point)
    made.graph.inputs.append(second)
    outputs: list[int] = []
    for source, shape in ((made.picture, (1, 48)), (second, (6, 1))):
        output = made.tensor(f"out{len(outputs)}", shape, dtype, scale, zero_point)
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        made.op("RESHAPE", [source, made.constant(f"shape{output}", np.array(shape, np.int32))], [output], options)
        outputs.append(output)
    made.graph.outputs = outputs[::-1]
    return made.write(path / f"{name}.tflite")


@pytest.fixture(params=FORMATS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    return net(tmp_path, request.param), request.param


def test_info(model: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, name = model
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    _, scale, zero_point = FORMATS[name]
    common = {"dtype": name, "scale": scale, "zero_point": zero_point}
    assert facts["inputs"] == [
        {"name": "picture", "shape": [1, 4, 6, 2], **common},
        {"name": "second", "shape": [1, 6], **common},
    ]
    assert facts["outputs"] == [
        {"name": "out1", "shape": [6, 1], **common},
        {"name": "out0", "shape": [1, 48], **common},
    ]
    assert facts["total"] == len(facts["ops"]) == 2
    assert facts["card"] is None
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert f"input  second: {name} 1x6" in text
    assert f"output out1: {name} 6x1" in text


def test_bench(model: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = model
    for flags in (["--inference-only"], []):
        assert main(["bench", str(path), *flags, "--runs", "3", "--threads", "1,2", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [(row["threads"], row["end_to_end_ms"]) for row in rows] == [(1, None), (2, None)]
        assert all(row["inference_ms"]["median"] > 0 for row in rows)


def test_ops(model: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = model
    assert main(["bench", str(path), "--ops", "--runs", "3", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert [op["name"] for op in row["ops"]] == ["RESHAPE", "RESHAPE"]
    assert row["inference_ms"]["median"] > 0


def test_engine_moves_every_number(model: tuple[Path, str]) -> None:
    """What goes into the second input comes out of the first output, in the tensor's own format."""
    path, name = model
    engine = Engine(path)
    dtype = FORMATS[name][0]
    numbers = np.arange(6).astype(dtype) - np.array(1, dtype) if name != "uint8" else np.arange(250, 256, dtype=dtype)
    engine.input_view(1)[...] = numbers
    engine.input_view(0)[...] = 7
    engine.invoke()
    assert engine.output_view(0).dtype == dtype
    np.testing.assert_array_equal(engine.output_view(0).ravel(), numbers)
    assert (engine.output_view(1) == 7).all()
