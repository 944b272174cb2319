"""Tiny ``.tflite`` files as other tools would write them, put together op by op.

Their outputs are constants, so that a test knows what comes out; the picture goes nowhere, or through a first op.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from convert.quantize.package import serialise

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
}


class ForeignNet:
    """Collects tensors and ops.

    Args:
        size: Width and height of the input; ``shape`` for another shape than a colour picture.
        dtype, scale, zero_point: Of the input.
    """

    def __init__(
        self,
        size: tuple[int, int] = (64, 64),
        dtype: Any = np.float32,
        scale: float = 0.0,
        zero_point: int = 0,
        shape: Sequence[int] = (),
    ) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "made by a test"
        self.model.operatorCodes, self.model.metadata, self.model.buffers = [], [], [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.outputs = [], [], []
        self.picture = self.tensor("picture", shape or (1, size[1], size[0], 3), dtype, scale, zero_point)
        self.graph.inputs = [self.picture]
        self.members: dict[str, str] = {}

    def tensor(
        self, name: str, shape: Sequence[int], dtype: Any = np.float32, scale: float = 0.0, zero_point: int = 0
    ) -> int:
        """A tensor without content."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), _TYPES[np.dtype(dtype)], 0
        if scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero_point]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray, scale: float = 0.0, zero_point: int = 0) -> int:
        """A tensor with numbers."""
        index = self.tensor(name, values.shape, values.dtype, scale, zero_point)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def op(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, custom: bytes = b""
    ) -> None:
        """An op; ``kind`` is its name in the schema, or a custom op's."""
        code = schema.OperatorCodeT()
        builtin = getattr(schema.BuiltinOperator, kind, schema.BuiltinOperator.CUSTOM)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        if builtin == schema.BuiltinOperator.CUSTOM:
            code.customCode = kind.encode()
        self.model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes) - 1, list(inputs), list(outputs)
        if custom:
            op.customOptions = np.frombuffer(custom, np.uint8)
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self.graph.operators.append(op)

    def output(self, name: str, values: np.ndarray, scale: float = 0.0, zero_point: int = 0) -> int:
        """An output that always holds these (stored) numbers."""
        index = self.tensor(name, values.shape, values.dtype, scale, zero_point)
        content = self.constant(f"{name}_values", values, scale, zero_point)
        shape = self.constant(f"{name}_shape", np.array(values.shape, np.int32))
        self.op("RESHAPE", [content, shape], [index])
        self.graph.outputs.append(index)
        return index

    def write(self, path: Path) -> Path:
        """Writes the file."""
        self.graph.name = b"main"
        self.model.subgraphs = [self.graph]
        stream = io.BytesIO(serialise(self.model))
        if self.members:
            with zipfile.ZipFile(stream, "a") as archive:
                for name, text in self.members.items():
                    archive.writestr(name, text)
        path.write_bytes(stream.getvalue())
        return path

    def set_metadata(self, data: bytes) -> None:
        """Adds the standard metadata buffer."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = b"TFLITE_METADATA", len(self.model.buffers) - 1
        self.model.metadata.append(entry)


def flex_map(values: Mapping[str, float]) -> bytes:
    """Options of a custom op as its converter writes them."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in values.items():
            builder.Key(name)
            if isinstance(value, bool):
                builder.Bool(value)
            elif isinstance(value, int):
                builder.Int(value)
            else:
                builder.Float(value)
    return bytes(builder.Finish())


@dataclass(frozen=True)
class StandardMetadata:
    """What MediaPipe's metadata writer puts into a file: normalisation, colour space, a label file."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    rgb: bool = True
    labels: str = ""

    def buffer(self) -> bytes:
        """The flatbuffer, by the field positions of ``metadata_schema.fbs``."""
        builder = flatbuffers.Builder(256)
        named = [_table(builder, {0: builder.CreateString(self.labels)}, {2: 2})] if self.labels else []
        files = _vector(builder, named)
        units = []
        if self.std:
            options = _table(builder, {0: _floats(builder, self.mean), 1: _floats(builder, self.std)}, {})
            units.append(_table(builder, {1: options}, {0: 1}))
        content = _table(builder, {1: _table(builder, {}, {0: int(self.rgb)})}, {0: 2})
        picture = _table(builder, {3: content, 4: _vector(builder, units)}, {})
        scores = _table(builder, {6: files}, {})
        inputs, outputs = _vector(builder, [picture]), _vector(builder, [scores])
        subgraph = _table(builder, {2: inputs, 3: outputs}, {})
        root = _table(builder, {3: _vector(builder, [subgraph]), 5: builder.CreateString("MIT")}, {})
        builder.Finish(root, b"M001")
        return bytes(builder.Output())


def _table(builder: Any, offsets: Mapping[int, int], bytes_: Mapping[int, int]) -> int:
    builder.StartObject(8)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in bytes_.items():
        builder.PrependInt8Slot(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def grid_rows(
    size: tuple[int, int], classes: int, *, objectness: bool, anchors: int = 1, unit: float = 1
) -> np.ndarray:
    """Candidates of a one-stage detector on a grid with strides 8, 16 and 32: ``(N, fields)`` float32.

    Each box lies around its own cell; all scores are 0.

    Args:
        size: Width and height of the input.
        classes: Class scores per candidate.
        objectness: Whether there is an objectness in front of them.
        anchors: Candidates per cell.
        unit: What coordinates are multiplied by.
    """
    rows = []
    for stride in (8, 16, 32):
        for y in range(size[1] // stride):
            for x in range(size[0] // stride):
                box = [(x + 0.5) * stride * unit, (y + 0.5) * stride * unit, stride * unit, 2 * stride * unit]
                rows += [box + [0.0] * (classes + objectness)] * anchors
    return np.array(rows, np.float32)
