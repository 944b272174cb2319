"""The finished file: standard metadata, alignment, names, sameness."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from convert.quantize.cost import multiply_accumulates
from convert.quantize.metadata import metadata_buffer
from convert.quantize.package import pack, read_flatbuffer
from runtime.engine import Engine
from runtime.modelfile import require_card


def test_metadata_as_mediapipe_reads_it(tiny_model: Path, oracle: Callable[..., Any]) -> None:
    facts = oracle("read_metadata.py", tiny_model)
    card = require_card(tiny_model)
    assert facts["identifier"] is True
    assert facts["name"] == "tiny"
    assert facts["license"] == "unknown"
    assert facts["min_parser_version"] == "1.0.0"
    assert facts["files"] == [["card.json", 1], ["labels.txt", 3]]
    (image,) = facts["inputs"]
    assert (image["name"], image["content"], image["color_space"]) == ("image", "ImagePropertiesT", 1)
    assert image["normalization"] == [[[0.0], [255.0]]]
    np.testing.assert_allclose(image["range"], [[0.0], [1.0]], rtol=1e-6)
    outputs = facts["outputs"]
    assert [output["name"] for output in outputs] == facts["tensors"]
    assert sorted(facts["tensors"]) == sorted(output.name for output in card.outputs)
    assert {output["description"] for output in outputs} == {
        "raw box logits",
        "raw objectness logits",
        "raw class logits",
    }


@pytest.mark.parametrize(
    ("scale", "offset", "mean", "std"),
    [((1 / 127.5,), (-1.0,), [127.5], [127.5]), ((0.02, 0.025, 0.04), (-2.0, -1.0, 0.0), [100, 40, 0], [50, 40, 25])],
)
def test_normalisation_is_turned_round_for_the_metadata(
    scale: tuple[float, ...],
    offset: tuple[float, ...],
    mean: list[float],
    std: list[float],
    tiny_model: Path,
    tmp_path: Path,
    oracle: Callable[..., Any],
) -> None:
    card = require_card(tiny_model)
    card = dataclasses.replace(card, input=dataclasses.replace(card.input, scale=scale, offset=offset))
    path = tmp_path / "other.tflite"
    path.write_bytes(pack(tiny_model.read_bytes(), card))
    (image,) = oracle("read_metadata.py", path)["inputs"]
    np.testing.assert_allclose(image["normalization"][0], [mean, std], rtol=1e-6, atol=1e-5)
    pixels = np.array([[0.0, 255.0]]).T
    real = pixels * np.array(scale) + np.array(offset)
    assert image["range"] == [[pytest.approx(real.min(), rel=1e-6)], [pytest.approx(real.max(), rel=1e-6)]]


def test_int8_inside_and_out_with_per_channel_weights(tiny_model: Path) -> None:
    engine = Engine(tiny_model)
    assert {spec.dtype for spec in (*engine.inputs, *engine.outputs)} == {np.dtype(np.int8)}
    assert engine.inputs[0].name == "image"
    assert engine.inputs[0].scale == pytest.approx(1 / 255, rel=1e-6)
    assert engine.inputs[0].zero_point == -128
    model = read_flatbuffer(tiny_model.read_bytes())
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    tensors = model.subgraphs[0].tensors
    convolutions = [
        op for op in model.subgraphs[0].operators if codes[op.opcodeIndex] == schema.BuiltinOperator.CONV_2D
    ]
    assert len(convolutions) >= 10
    for op in convolutions:
        weights = tensors[op.inputs[1]]
        assert weights.type == schema.TensorType.INT8
        assert len(weights.quantization.scale) == weights.shape[0]


def test_buffers_lie_on_16_byte_borders(tiny_model: Path) -> None:
    """The schema asks for it, and kernels on ARM read weights in place."""
    data = tiny_model.read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    seen = 0
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            vector = buffer._tab.Vector(buffer._tab.Offset(4))
            assert vector % 16 == 0
            seen += 1
    assert seen > 20


def test_packing_is_repeatable_and_keeps_the_network(tiny_model: Path) -> None:
    data, card = tiny_model.read_bytes(), require_card(tiny_model)
    again = pack(data, card)
    assert again == pack(data, card)
    with zipfile.ZipFile(io.BytesIO(again)) as archive:
        assert archive.testzip() is None
    before, after = read_flatbuffer(data), read_flatbuffer(again)
    assert len(before.subgraphs[0].operators) == len(after.subgraphs[0].operators)
    assert sum(entry.name == b"TFLITE_METADATA" for entry in after.metadata) == 1


def test_multiply_accumulates_of_the_small_net(tiny_model: Path) -> None:
    """Counted by hand: output pixels x filters x window x channels in."""
    expected = (
        32 * 32 * 8 * 9 * 3  # 3x3 stride 2
        + 32 * 32 * 8 * 9  # depthwise
        + 16 * 16 * 16 * 9 * 8  # 3x3 stride 2
        + 16 * 16 * 16 * 16
        + 8 * 8 * 24 * 9 * 16  # 3x3 stride 2
        + 8 * 8 * 24 * 9 * 24
        + 4 * 4 * 32 * 24
        + 4 * 4 * 24 * 32  # head
        + 4 * 4 * 16 * 32
        + 8 * 8 * 24 * 40  # head
    )
    assert multiply_accumulates(tiny_model.read_bytes()) == expected
    assert require_card(tiny_model).macs == expected


def test_metadata_is_small() -> None:
    from tests.runtime.test_card import make_card

    card = make_card()
    assert len(metadata_buffer(card, [output.name for output in card.outputs], (0.0, 1.0))) < 2000
