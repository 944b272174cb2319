"""Reading of untrusted bytes: flatbuffers, FlexBuffers, metadata."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.quantize.package import read_flatbuffer
from runtime.engine import Engine
from runtime.errors import InputError
from runtime.foreign.flatbuffer import DamagedError, Table
from runtime.foreign.flexbuffer import read_map
from runtime.foreign.graph import read_graph
from runtime.foreign.metadata import read_metadata
from tests.conftest import needs_shared
from tests.foreign_nets import ForeignNet, StandardMetadata, flex_map


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = ForeignNet(dtype=np.uint8, scale=0.5, zero_point=3)
    net.set_metadata(StandardMetadata((1.0,), (2.0,), labels="a.txt").buffer())
    net.members["a.txt"] = "wren\nrobin\n"
    net.output("scores", np.array([[1, 2]], np.int8), 0.25, -7)
    return net.write(tmp_path_factory.mktemp("small") / "small.tflite")


def test_graph_is_what_the_generated_schema_reads(tiny_model: Path) -> None:
    graph, model = read_graph(tiny_model), read_flatbuffer(tiny_model.read_bytes())
    (subgraph,) = model.subgraphs
    assert [tensor.name for tensor in graph.tensors] == [tensor.name.decode() for tensor in subgraph.tensors]
    assert (list(graph.inputs), list(graph.outputs)) == (list(subgraph.inputs), list(subgraph.outputs))
    assert [list(op.inputs) for op in graph.ops] == [list(op.inputs) for op in subgraph.operators]
    assert [list(op.outputs) for op in graph.ops] == [list(op.outputs) for op in subgraph.operators]
    assert graph.description == model.description.decode()
    assert graph.metadata


def test_quantisation_is_what_the_interpreter_says(tiny_model: Path) -> None:
    graph, engine = read_graph(tiny_model), Engine(tiny_model)
    mine = {graph.tensors[index].name: graph.tensors[index] for index in (*graph.inputs, *graph.outputs)}
    for spec in (*engine.inputs, *engine.outputs):
        tensor = mine[spec.name]
        assert (tensor.bits8, tensor.zero_point) == (str(spec.dtype), spec.zero_point)
        assert tensor.scale == pytest.approx(spec.scale)


@needs_shared
def test_every_real_file_can_be_read(shared: Path) -> None:
    for path in sorted((shared / "zoo").rglob("*.tflite")):
        graph, engine = read_graph(path), Engine(path)
        assert [graph.tensors[index].name for index in graph.inputs] == [spec.name for spec in engine.inputs]
        assert {graph.tensors[index].name for index in graph.outputs} == {spec.name for spec in engine.outputs}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.integers(8, 10**6), st.integers(0, 255)), min_size=1, max_size=20))
def test_damage_gives_a_graph_or_an_input_error(damage: list[tuple[int, int]], small: Path, tmp_path: Path) -> None:
    data = bytearray(small.read_bytes())
    for place, value in damage:
        data[max(8, place % len(data))] = value
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_metadata(path, read_graph(path).metadata)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_as_metadata(data: bytes) -> None:
    assert read_metadata(Path("/nowhere"), data) is not None


@pytest.mark.parametrize("length", [8, 12, 40, 100, 300])
def test_cut_file(length: int, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(small.read_bytes()[:length])
    with pytest.raises(InputError, match=r"is damaged"):
        read_graph(path)


def test_a_list_longer_than_the_file_is_not_allocated() -> None:
    # Root at 8; a table whose first field is a list of 2^31 items.
    data = bytes.fromhex("08000000 0600 0800 08000000") + b"\0" * 4
    table = bytearray(40)
    table[0:4] = (16).to_bytes(4, "little")
    table[4:10] = b"\x06\x00\x08\x00\x04\x00"
    table[16:20] = (12).to_bytes(4, "little")
    table[20:24] = (4).to_bytes(4, "little")
    table[24:28] = (1 << 31).to_bytes(4, "little")
    with pytest.raises(DamagedError, match="a list of 2147483648 items"):
        Table.root(bytes(table)).numbers(0, "i")
    with pytest.raises(DamagedError):
        Table.root(data).tables(0)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text("abcdefgh_", min_size=1, max_size=12),
        st.one_of(
            st.integers(-(2**40), 2**40), st.booleans(), st.floats(-1e6, 1e6, width=32), st.sampled_from([1e30, 0.1])
        ),
        max_size=12,
    )
)
def test_options_come_back(values: dict[str, float]) -> None:
    assert read_map(flex_map(values)) == pytest.approx({name: float(value) for name, value in values.items()}, rel=1e-6)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_as_options(data: bytes) -> None:
    with contextlib.suppress(DamagedError):
        read_map(data)


def test_metadata_of_our_own_files_reads_back(tiny_model: Path) -> None:
    metadata = read_metadata(tiny_model, read_graph(tiny_model).metadata)
    assert (metadata.name, metadata.mean, metadata.std, metadata.rgb) == ("tiny", (0.0,), (255.0,), True)
    assert metadata.labels == ("wren", "robin", "finch")
