"""Which ops of a model XNNPACK runs, and why not the others.

The interpreter does not say. It keeps every original node and adds one DELEGATE node per partition, so the truth is
found by walking back from the outputs: what is reached as itself is run by the built-in kernels, everything else lies
inside a partition.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.engine import Engine
from runtime.errors import InputError, RunError

_DELEGATE = "DELEGATE"

_LOOSE = "XNNPACK takes an int8 ReLU only fused into the convolution or addition before it; put nothing between the two"
_DILATED = "a dilated convolution taken apart; give the convolution layer itself the dilation"

# Ops without an int8 kernel in XNNPACK, and what to use instead (measured with litert 2.3.0; the tests rebuild each).
_NO_KERNEL = {
    "HARD_SWISH": "XNNPACK has no int8 HARD_SWISH; use ReLU6 or SiLU",
    "SOFTMAX": "XNNPACK has no int8 SOFTMAX; leave it to the decoder",
    "AVERAGE_POOL_2D": "XNNPACK has no int8 AVERAGE_POOL_2D; use a mean over the whole map or a strided convolution",
    "RESIZE_NEAREST_NEIGHBOR": "XNNPACK has no RESIZE_NEAREST_NEIGHBOR; fine for one thread, else compare it with "
    "concatenation and DEPTH_TO_SPACE",
    "TILE": "XNNPACK has no TILE; nearest upsampling is better built from concatenation and DEPTH_TO_SPACE",
    "MAXIMUM": "XNNPACK has no int8 MAXIMUM; write a leaky ReLU as the LeakyReLU layer",
    "MINIMUM": "XNNPACK has no int8 MINIMUM; write a clipped ReLU as the ReLU6 layer",
    "RELU": _LOOSE,
    "RELU6": _LOOSE,
    "RELU_N1_TO_1": _LOOSE,
    "GELU": "XNNPACK has no int8 GELU; use ReLU6 or SiLU",
    "PRELU": "XNNPACK has no int8 PRELU; use a LeakyReLU with one slope",
    "MIRROR_PAD": "XNNPACK has no MIRROR_PAD; pad with zeros",
    "EXP": "XNNPACK has no int8 EXP; leave it to the decoder",
    "SQRT": "XNNPACK has no int8 SQRT; leave it to the decoder",
    "RSQRT": "XNNPACK has no int8 RSQRT; leave it to the decoder",
    "ABS": "XNNPACK has no int8 ABS; leave it to the decoder",
    "NEG": "XNNPACK has no int8 NEG; subtract instead of adding, or multiply by -1",
    "DIV": "XNNPACK has no int8 DIV; multiply by the reciprocal",
    "SQUARED_DIFFERENCE": "XNNPACK has no int8 SQUARED_DIFFERENCE; use SUB, and MUL with itself",
    "LOG_SOFTMAX": "XNNPACK has no LOG_SOFTMAX; leave it to the decoder",
    "L2_NORMALIZATION": "XNNPACK has no L2_NORMALIZATION; leave it to the decoder",
    "ARG_MAX": "XNNPACK has no ARG_MAX; give the scores out and choose in the decoder",
    "ARG_MIN": "XNNPACK has no ARG_MIN; give the scores out and choose in the decoder",
    "GATHER": "XNNPACK has no GATHER; slice with step 1, or choose in the decoder",
    "REVERSE_V2": "XNNPACK has no REVERSE_V2; turn the weights behind it round instead",
    "PACK": "XNNPACK has no PACK; use RESHAPE and CONCATENATION",
    "UNPACK": "XNNPACK has no UNPACK; use SPLIT and RESHAPE",
    "SPACE_TO_BATCH_ND": _DILATED,
    "BATCH_TO_SPACE_ND": _DILATED,
    "LOG": "XNNPACK has no int8 LOG; replace mish by leaky ReLU and retrain",
    "TFLite_Detection_PostProcess": "box decoding inside the graph is a custom op; export raw heads",
}
_MAX_CONCATENATION = 5


@dataclass(frozen=True)
class OpInfo:
    """One op of the file.

    Attributes:
        index: Position in the graph.
        name: TensorFlow Lite's name, such as ``CONV_2D``.
        delegated: Whether XNNPACK runs it.
        reason: Why not; empty for delegated ops.
    """

    index: int
    name: str
    delegated: bool
    reason: str = ""


@dataclass(frozen=True)
class OpList:
    """All ops of a model and the number of partitions XNNPACK made of those it took (fewer is better)."""

    ops: tuple[OpInfo, ...]
    partitions: int

    @property
    def delegated(self) -> int:
        """How many ops XNNPACK runs."""
        return sum(op.delegated for op in self.ops)


def list_ops(engine: Engine) -> OpList:
    """Lists a model's ops.

    Raises:
        RunError: The installed interpreter does not expose its nodes.
        InputError: A tensor's name is damaged.
    """
    interpreter = engine.interpreter
    if not hasattr(interpreter, "_get_ops_details"):
        raise RunError(
            f"{engine.provider} does not list its ops", "expected ai-edge-litert", "pip install ai-edge-litert"
        )
    try:
        return _list(interpreter)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{engine.path} is damaged (a tensor's name: {error})", "expected a complete .tflite model", "copy it again"
        ) from None


def _list(interpreter: Any) -> OpList:
    nodes: list[dict[str, Any]] = interpreter._get_ops_details()
    executed = executed_nodes(interpreter, nodes)
    partitions = sum(node["op_name"] == _DELEGATE for node in executed)
    built_in = {node["index"] for node in executed if node["op_name"] != _DELEGATE}
    ops = []
    for node in nodes:
        if node["op_name"] == _DELEGATE:
            continue
        left_out = node["index"] in built_in
        reason = _reason(interpreter, node, partitions) if left_out else ""
        ops.append(OpInfo(node["index"], node["op_name"], not left_out, reason))
    return OpList(tuple(ops), partitions)


def executed_nodes(interpreter: Any, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes that really run: a DELEGATE node, listed last, takes its outputs over from the ops it replaced.

    Args:
        interpreter: A TensorFlow Lite interpreter.
        nodes: All of its nodes, as it lists them.
    """
    producer = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    queue: deque[int] = deque(detail["index"] for detail in interpreter.get_output_details())
    seen, executed = set(), []
    while queue:
        node = producer.get(int(queue.popleft()))
        if node is None or node["index"] in seen:
            continue
        seen.add(node["index"])
        executed.append(node)
        queue.extend(tensor for tensor in node["inputs"] if tensor >= 0)
    return executed


def _reason(interpreter: Any, node: dict[str, Any], partitions: int) -> str:
    name = node["op_name"]
    inputs = [int(tensor) for tensor in node["inputs"] if tensor >= 0]
    if partitions == 0:
        return "XNNPACK took nothing: this interpreter runs without it or the model has no op for it"
    if name == "CONCATENATION" and len(inputs) > _MAX_CONCATENATION:
        return f"joins {len(inputs)} tensors; XNNPACK takes at most {_MAX_CONCATENATION}: join in steps"
    if name == "STRIDED_SLICE" and len(inputs) == 4 and np.any(interpreter.get_tensor(inputs[3]) != 1):
        return "XNNPACK slices with step 1 only; use SPACE_TO_DEPTH or a strided convolution"
    outputs = [int(tensor) for tensor in node["outputs"]]
    if odd := _odd_type(interpreter, inputs):
        return f"reads {odd}"
    details = [interpreter._get_tensor_details(tensor, 0) for tensor in [*inputs, *outputs]]
    if any((detail["shape_signature"] < 0).any() for detail in details):
        return "its shape is not fixed; convert with a fixed batch dimension"
    if name in ("QUANTIZE", "DEQUANTIZE"):
        return "changes the number format at the border of the delegated part; convert with int8 inputs and outputs"
    if name not in _NO_KERNEL and (odd := _odd_type(interpreter, outputs)):
        return f"writes {odd}"
    return _NO_KERNEL.get(name, "XNNPACK does not take this op in this form")


def _odd_type(interpreter: Any, tensors: list[int]) -> str:
    """The type of the first tensor and what to do about it, where XNNPACK has no kernels for that type."""
    kind = np.dtype(interpreter._get_tensor_details(tensors[0], 0)["dtype"]) if tensors else np.dtype(np.int8)
    known = kind in (np.int8, np.uint8, np.float32)
    return "" if known else f"{kind}, which XNNPACK does not compute with; leave it to the decoder"
