"""What a ``.tflite`` file says about its network, read from the file itself.

Interpreters tell names, shapes and quantisation of inputs and outputs, and no more. The ops between them decide how a
file from elsewhere is to be fed and read, so they are read here, by field position in the published schema
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import InputError
from runtime.foreign.flatbuffer import DamagedError, Data, Table
from runtime.modelfile import check_model_file
from runtime.values import value

METADATA_NAME = "TFLITE_METADATA"
POSTPROCESS = "TFLite_Detection_PostProcess"
_CUSTOM = 32
# The ops that are asked for by name; others are only counted.
_NAMES = {
    0: "ADD",
    6: "DEQUANTIZE",
    14: "LOGISTIC",
    18: "MUL",
    22: "RESHAPE",
    25: "SOFTMAX",
    41: "SUB",
    42: "DIV",
    43: "SQUEEZE",
    53: "CAST",
    114: "QUANTIZE",
}
_INT8, _UINT8, _FLOAT32 = 9, 3, 0
_MAX_CONSTANT_BYTES = 1 << 12


@value
class GraphTensor:
    """One tensor.

    Attributes:
        name: In the file.
        bits8: ``int8`` or ``uint8`` for a quantised tensor of that type, else empty.
        scale, zero_point: Of an 8-bit tensor with one scale; scale is 0.0 otherwise.
        constant: The numbers of a small float constant; ``None`` for all others.
    """

    name: str
    bits8: str
    scale: float
    zero_point: int
    constant: npt.NDArray[np.float32] | None


@value
class Op:
    """One op: its name (of a custom op, its own), its tensors, and a custom op's options."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: bytes


@value
class Graph:
    """The first subgraph of a file.

    Attributes:
        description: The file's description.
        tensors: All tensors.
        ops: In order of execution.
        inputs, outputs: Positions in ``tensors``.
        metadata: The ``TFLITE_METADATA`` flatbuffer; empty when there is none.
    """

    description: str
    tensors: tuple[GraphTensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: bytes

    def users(self, tensor: int) -> list[Op]:
        """The ops that read a tensor."""
        return [op for op in self.ops if tensor in op.inputs]

    def maker(self, tensor: int) -> Op | None:
        """The op that writes a tensor."""
        return next((op for op in self.ops if tensor in op.outputs), None)


def read_graph(path: Path) -> Graph:
    """Reads the description of a network, not its weights.

    Raises:
        InputError: Not a ``.tflite`` file, or one whose offsets lead nowhere.
    """
    check_model_file(path)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _read(data)
        except (DamagedError, struct.error, IndexError) as error:
            raise InputError(
                f"{path} is damaged ({error})", "expected a complete .tflite model", "copy the file again"
            ) from None


def _read(data: Data) -> Graph:
    model = Table.root(data)
    codes = [_op_name(code) for code in model.tables(1)]
    subgraphs, buffers = model.tables(2), model.tables(4)
    if not subgraphs:
        raise DamagedError("no subgraph")
    subgraph = subgraphs[0]
    tensors = tuple(_tensor(tensor, buffers) for tensor in subgraph.tables(0))
    ops = tuple(
        Op(codes[op.number(0, "I")], op.numbers(1, "i"), op.numbers(2, "i"), op.data(5)) for op in subgraph.tables(3)
    )
    inputs, outputs = subgraph.numbers(1, "i"), subgraph.numbers(2, "i")
    if not all(0 <= index < len(tensors) for index in (*inputs, *outputs)):
        raise DamagedError("an input or output that is no tensor")
    return Graph(model.text(3), tensors, ops, inputs, outputs, _metadata(model, buffers))


def _op_name(code: Table) -> str:
    number = max(code.number(0, "b"), code.number(3, "i"))
    return code.text(1) if number == _CUSTOM else _NAMES.get(number, f"op {number}")


def _tensor(tensor: Table, buffers: list[Table]) -> GraphTensor:
    kind = tensor.number(1, "b")
    quantization = tensor.table(4)
    scales = quantization.numbers(2, "f") if quantization else ()
    zero_points = quantization.numbers(3, "q") if quantization else ()
    bits8 = {_INT8: "int8", _UINT8: "uint8"}.get(kind, "") if len(scales) == 1 and scales[0] > 0 else ""
    return GraphTensor(
        tensor.text(3),
        bits8,
        float(scales[0]) if bits8 else 0.0,
        int(zero_points[0]) if bits8 and zero_points else 0,
        _constant(buffers[tensor.number(2, "I")]) if kind == _FLOAT32 else None,
    )


def _constant(buffer: Table) -> npt.NDArray[np.float32] | None:
    size = buffer.length(0)
    if not 4 <= size <= _MAX_CONSTANT_BYTES or size % 4:
        return None
    return np.frombuffer(buffer.data(0), "<f4").astype(np.float32)


def _metadata(model: Table, buffers: list[Table]) -> bytes:
    for entry in model.tables(6):
        if entry.text(0) == METADATA_NAME:
            data: bytes = buffers[entry.number(1, "I")].data(0)
            return data
    return b""
