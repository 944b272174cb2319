"""The float twin of an int8 file: the same ops on the same weights, with nothing rounded but where it is asked for.

An int8 file holds all that is needed to run it in float: stored weights times their scale. Beside it one sees what each
int8 tensor costs, whatever tool made the file and whatever it did to the network before.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from convert.quantize.package import read_flatbuffer, serialise
from convert.quantize.tensors import Range

_TYPES = schema.TensorType
_BYTES: dict[int, Any] = {_TYPES.INT8: np.int8, _TYPES.UINT8: np.uint8}
_STORED: dict[int, Any] = {**_BYTES, _TYPES.INT32: np.int32, _TYPES.INT64: np.int64}
_CONVERTING = ("QUANTIZE", "DEQUANTIZE")
# Ops that only move numbers: what comes out was rounded before.
_MOVING = (
    "PAD",
    "PADV2",
    "MIRROR_PAD",
    "MAX_POOL_2D",
    "RESHAPE",
    "TRANSPOSE",
    "SQUEEZE",
    "EXPAND_DIMS",
    "CONCATENATION",
    "SPLIT",
    "SPLIT_V",
    "SLICE",
    "STRIDED_SLICE",
    "SPACE_TO_DEPTH",
    "DEPTH_TO_SPACE",
    "RESIZE_NEAREST_NEIGHBOR",
    "GATHER",
    "PACK",
    "UNPACK",
    "TILE",
)
# How closely a range must end at 6 to be a ReLU6's.
_SIX = 0.05
_NAMES: dict[int, str] = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)
}


@dataclass(frozen=True)
class Point:
    """An int8 tensor that an op rounds its result to.

    Attributes:
        name: For people: the last layer in the tensor's name.
        tensor: Position in the file.
        range: What it can hold.
        readers: Names of the ops that read it.
        maker: Name of the op that makes it.
        source: Position of the tensor its op reads first, -1 for none.
    """

    name: str
    tensor: int
    range: Range
    readers: tuple[str, ...]
    maker: str
    source: int


class Twin:
    """A ``.tflite`` whose 8-bit tensors became float.

    Args:
        data: The int8 file.

    Attributes:
        points: The tensors it rounds, in order of execution; the input is not among them.
    """

    def __init__(self, data: bytes) -> None:
        self._model = read_flatbuffer(data)
        # Positions are all that is used to find tensors, and a signature would have to be kept in step with them.
        self._model.signatureDefs = []
        self._graph = self._model.subgraphs[0]
        self._codes = [_code(code) for code in self._model.operatorCodes]
        self._quantization = [tensor.quantization for tensor in self._graph.tensors]
        self._kinds = [tensor.type for tensor in self._graph.tensors]
        self._join_copies()
        self.points = self._points()
        self._show_activations()
        for tensor in self._graph.tensors:
            self._to_float(tensor)

    def build(self, rounded: Collection[int] = (), shown: bool = False) -> bytes:
        """The twin as a file.

        Args:
            rounded: Tensors that are rounded to their int8 steps all the same.
            shown: Whether all points are outputs too, behind the outputs, in order.
        """
        graph = self._graph
        kept = graph.tensors, graph.operators, graph.outputs, self._model.operatorCodes
        graph.tensors, self._model.operatorCodes = (
            list(graph.tensors),
            [*kept[3], _opcode("QUANTIZE"), _opcode("DEQUANTIZE")],
        )
        graph.operators = [each for operator in kept[1] for each in self._rounding(operator, set(rounded))]
        if shown:
            graph.outputs = [*kept[2], *(point.tensor for point in self.points if point.tensor not in kept[2])]
        try:
            return serialise(self._model)
        finally:
            graph.tensors, graph.operators, graph.outputs, self._model.operatorCodes = kept

    def _rounding(self, operator: Any, rounded: set[int]) -> list[Any]:
        """An op, with a rounding behind each of its results that is to be rounded."""
        results = [int(index) for index in operator.outputs]
        if not rounded.intersection(results):
            return [operator]
        changed, more = copy.copy(operator), []
        changed.outputs = list(results)
        for at, index in enumerate(results):
            if index in rounded:
                exact, stored = self._copy(index, "exact", None), self._copy(index, "stored", self._quantization[index])
                changed.outputs[at] = exact
                more += [self._operator(-2, exact, stored), self._operator(-1, stored, index)]
        return [changed, *more]

    def _copy(self, index: int, suffix: str, quantization: Any | None) -> int:
        """Another tensor of the same shape."""
        tensor = copy.copy(self._graph.tensors[index])
        tensor.name = tensor.name + b"/" + suffix.encode()
        if quantization is not None:
            tensor.type, tensor.quantization = self._kinds[index], quantization
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _operator(self, code: int, source: int, target: int) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) + code
        operator.inputs, operator.outputs = [source], [target]
        return operator

    def _join_copies(self) -> None:
        """Takes out conversions between number types: in float they change nothing."""
        graph = self._graph
        same: dict[int, int] = {}
        kept = []
        for operator in graph.operators:
            operator.inputs = [same.get(int(index), int(index)) for index in operator.inputs]
            if self._codes[operator.opcodeIndex] in _CONVERTING and self._scale(
                operator.inputs[0], operator.outputs[0]
            ):
                same[int(operator.outputs[0])] = operator.inputs[0]
            else:
                kept.append(operator)
        graph.operators = kept
        for index in graph.outputs:
            graph.tensors[same.get(int(index), int(index))].name = graph.tensors[index].name
        graph.outputs = [same.get(int(index), int(index)) for index in graph.outputs]

    def _scale(self, source: int, target: int) -> bool:
        """Whether a conversion is one between float and 8 bits, or two 8-bit tensors, that are computed."""
        return self._constant(source) is None and any(self._kinds[i] in _BYTES for i in (source, target))

    def _show_activations(self) -> None:
        """Makes ReLU and ReLU6 of ranges that begin at 0: older tools leave these activations to the clipping."""
        activations = schema.ActivationFunctionType
        for operator in self._graph.operators:
            options, span = operator.builtinOptions, self._range(int(operator.outputs[0]))
            if span is None or span[0] < 0 or getattr(options, "fusedActivationFunction", None) != activations.NONE:
                continue
            six = abs(span[1] - 6) < _SIX
            options.fusedActivationFunction = activations.RELU6 if six else activations.RELU

    def _points(self) -> tuple[Point, ...]:
        graph = self._graph
        readers: dict[int, list[str]] = {}
        for operator in graph.operators:
            for index in operator.inputs:
                readers.setdefault(int(index), []).append(self._codes[operator.opcodeIndex])
        found = []
        for operator in graph.operators:
            maker = self._codes[operator.opcodeIndex]
            for index in map(int, operator.outputs):
                span = self._range(index)
                if span is not None and maker not in _MOVING:
                    source = int(operator.inputs[0]) if len(operator.inputs) else -1
                    found.append(Point("", index, span, tuple(readers.get(index, ())), maker, source))
        names = short_names([graph.tensors[point.tensor].name.decode(errors="replace") for point in found])
        return tuple(dataclasses.replace(point, name=name) for point, name in zip(found, names, strict=True))

    def _range(self, index: int) -> Range | None:
        """What an 8-bit tensor with one scale can hold."""
        quantization = self._quantization[index]
        if self._kinds[index] not in _BYTES or quantization is None or quantization.scale is None:
            return None
        if len(quantization.scale) != 1 or not quantization.scale[0] > 0:
            return None
        limits = np.iinfo(_BYTES[self._kinds[index]])
        scale, zero = float(quantization.scale[0]), int(quantization.zeroPoint[0])
        return (limits.min - zero) * scale, (limits.max - zero) * scale

    def _to_float(self, tensor: Any) -> None:
        quantization = tensor.quantization
        if (
            tensor.type not in _STORED
            or quantization is None
            or quantization.scale is None
            or not len(quantization.scale)
        ):
            return
        stored = self._model.buffers[tensor.buffer].data
        if stored is not None and len(stored):
            values = np.frombuffer(np.asarray(stored, np.uint8).tobytes(), _STORED[tensor.type]).reshape(tensor.shape)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(_real(values, quantization).tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        tensor.type, tensor.quantization = _TYPES.FLOAT32, None

    def _constant(self, index: int) -> Any | None:
        data = self._model.buffers[self._graph.tensors[index].buffer].data
        return data if data is not None and len(data) else None


def short_names(names: Sequence[str]) -> list[str]:
    """The layers that tensors are named after, with as much of their path as it takes to tell them apart.

    ``split_1/conv_3_1/BiasAdd;split_1/conv_3_1/Squeeze`` is ``conv_3``.
    """
    paths = [_path(name) for name in names]
    found = []
    for at, path in enumerate(paths):
        others = [other for position, other in enumerate(paths) if position != at]
        depth = next((d for d in range(1, len(path)) if all(o[-d:] != path[-d:] for o in others)), len(path))
        name = "/".join(path[-depth:])
        found.append(name if path not in others else f"{name} #{at}")
    return found


def _path(name: str) -> list[str]:
    """The layers around a tensor, outermost first, without its own op's name."""
    parts = name.split(";")[-1].split("/")
    inner = parts[:-1] if len(parts) > 1 else parts
    # Keras numbers the second use of a whole network, and every layer in it.
    again = len(inner) > 1 and inner[0].endswith("_1")
    return [part.removesuffix("_1") if again else part for part in inner]


def _real(values: npt.NDArray[Any], quantization: Any) -> npt.NDArray[np.float32]:
    scale, zero = np.asarray(quantization.scale, np.float64), np.asarray(quantization.zeroPoint, np.float64)
    shape = [1] * values.ndim
    if len(scale) > 1:
        shape[quantization.quantizedDimension] = len(scale)
    return np.asarray((values - zero.reshape(shape if len(zero) > 1 else -1)) * scale.reshape(shape), np.float32)


def _code(code: Any) -> str:
    return _NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")


def _opcode(name: str) -> Any:
    code = schema.OperatorCodeT()
    number = getattr(schema.BuiltinOperator, name)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 2
    return code
