"""Networks the interpreter takes and then cannot run, or cannot describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from runtime.engine import Engine
from runtime.errors import InputError, RunError
from runtime.ops import list_ops
from tests.foreign_nets import ForeignNet


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A network that gives the row it is asked for, of three."""
    net = ForeignNet(shape=(1,), dtype=np.int32)
    rows = net.constant("rows", np.eye(3, dtype=np.float32))
    net.graph.outputs.append(net.tensor("row", (1, 3)))
    net.op("GATHER", [rows, net.picture], net.graph.outputs, schema.GatherOptionsT())
    return net.write(tmp_path / "failing.tflite")


def test_an_op_that_fails_is_an_error_line(failing: Path) -> None:
    engine = Engine(failing)
    engine.input_view()[:] = 2
    engine.invoke()
    assert engine.output_view(0).tolist() == [[0, 0, 1]]
    view = engine.input_view()
    view[:] = 9
    with pytest.raises(RunError, match="is used by two threads, or a view of its tensors is kept"):
        engine.invoke()
    del view
    with pytest.raises(RunError, match=r"failing\.tflite failed in .* \(gather index out of .*; expected .*; copy"):
        engine.invoke()


@pytest.mark.parametrize("name", ["picture", "scores", "scores_values"])
def test_a_name_that_is_no_text_is_damage(name: str, tmp_path: Path) -> None:
    net = ForeignNet()
    net.output("scores", np.array([[0.1, 0.9]], np.float32))
    (tensor,) = (tensor for tensor in net.graph.tensors if tensor.name == name.encode())
    tensor.name = b"\xff" + tensor.name
    path = net.write(tmp_path / "named.tflite")
    with pytest.raises(InputError, match=r"named\.tflite is .*decode.*; expected a complete \.tflite model; copy"):
        list_ops(Engine(path))


@pytest.mark.parametrize("threads", [-1, 0, 1025, 3_000_000_000, 10**30])
def test_threads(threads: int, failing: Path) -> None:
    with pytest.raises(InputError, match=rf"threads is {threads}; expected 1\.\.1024; give --threads N"):
        Engine(failing, threads)
