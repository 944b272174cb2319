"""Work of a converted network."""

from __future__ import annotations

import math
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from convert.quantize.package import read_flatbuffer


def multiply_accumulates(data: bytes) -> int:
    """Multiply-accumulates of all convolutions and dense layers for one input.

    Args:
        data: A ``.tflite`` file with fixed shapes.
    """
    model = read_flatbuffer(data)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    subgraph = model.subgraphs[0]
    return sum(_operator(subgraph, operator, codes[operator.opcodeIndex]) for operator in subgraph.operators)


def _operator(subgraph: Any, operator: Any, code: int) -> int:
    def shape(tensor: int) -> list[int]:
        return [int(size) for size in subgraph.tensors[tensor].shape]

    outputs = math.prod(shape(operator.outputs[0]))
    if code == schema.BuiltinOperator.CONV_2D:
        return outputs * math.prod(shape(operator.inputs[1])[1:])
    if code == schema.BuiltinOperator.TRANSPOSE_CONV:
        # Each input value meets the whole kernel: (out, h, w, in) weights over the input's pixels.
        return math.prod(shape(operator.inputs[2])[:3]) * math.prod(shape(operator.inputs[1]))
    if code == schema.BuiltinOperator.DEPTHWISE_CONV_2D:
        return outputs * math.prod(shape(operator.inputs[1])[1:3])
    if code == schema.BuiltinOperator.FULLY_CONNECTED:
        return outputs * shape(operator.inputs[1])[-1]
    return 0
