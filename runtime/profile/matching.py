"""Which ops of the file XNNPACK's own ops stand for.

XNNPACK does not say. It builds its ops in the file's order, leaves out what it folds into a neighbour, and names them
by kind. So both lists are laid side by side in the cheapest way, kind by kind; where two ways are equally cheap, the
ops in question stay without an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.profile.facts import NodeFact

_LAYOUT = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_INTO_LAST = ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
# Ops whose own (fused) activation XNNPACK may run as a second op.
_ACTIVATED = ("ADD", "SUB", "MUL", "DIV")
# Ops of the file that a kind of XNNPACK's ops can stand for.
_STANDS_FOR: dict[str, tuple[str, ...]] = {
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Fully Connected": ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"),
    "Dynamic Fully Connected": ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"),
    "Batch Matrix Multiply": ("BATCH_MATMUL",),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Add": ("ADD",),
    "Subtract": ("SUB",),
    "Multiply": ("MUL",),
    "Divide": ("DIV",),
    "Maximum": ("MAXIMUM",),
    "Minimum": ("MINIMUM",),
    "Squared Difference": ("SQUARED_DIFFERENCE",),
    "PReLU": ("PRELU",),
    "Sigmoid": ("LOGISTIC",),
    "TanH": ("TANH",),
    "LeakyReLU": ("LEAKY_RELU",),
    "ELU": ("ELU",),
    "GELU": ("GELU",),
    "ApproxGELU": ("GELU",),
    "HardSwish": ("HARD_SWISH",),
    "Clamp": (*_INTO_LAST, *_ACTIVATED),
    "Softmax": ("SOFTMAX",),
    "Abs": ("ABS",),
    "Negate": ("NEG",),
    "Exp": ("EXP",),
    "Log": ("LOG",),
    "Floor": ("FLOOR",),
    "Ceiling": ("CEIL",),
    "Bankders Rounding": ("ROUND",),  # Spelt like this in the library.
    # A product of a tensor with itself becomes a square.
    "Square": ("SQUARE", "MUL"),
    "Square Root": ("SQRT",),
    "Reciprocal Square Root": ("RSQRT",),
    "Sine": ("SIN",),
    "Cosine": ("COS",),
    "Max Pooling": ("MAX_POOL_2D",),
    "Average Pooling": ("AVERAGE_POOL_2D",),
    "Mean": ("MEAN", "AVERAGE_POOL_2D"),
    "Sum": ("SUM", "MEAN"),
    "Reduce Max": ("REDUCE_MAX",),
    "Reduce Min": ("REDUCE_MIN",),
    "Resize Bilinear": ("RESIZE_BILINEAR",),
    "Depth To Space": ("DEPTH_TO_SPACE",),
    "Space To Depth": ("SPACE_TO_DEPTH",),
    "Constant Pad": ("PAD", "PADV2"),
    "Transpose": ("TRANSPOSE",),
    "Slice": ("SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V"),
    "Convert": ("QUANTIZE", "DEQUANTIZE", "CAST"),
    "Copy": ("CONCATENATION", "SPLIT", "PACK", "UNPACK", "BROADCAST_TO", *_LAYOUT),
    "Static Reshape": _LAYOUT,
    "Static Expand Dims": _LAYOUT,
    "Fuse Dims": _LAYOUT,
    "Split Dims": _LAYOUT,
}
# Ops that XNNPACK may run as several of its own.
_SEVERAL = ("SPLIT", "SPLIT_V", "CONCATENATION", "PACK", "UNPACK", *_ACTIVATED)
# Ops that XNNPACK may fold into the op behind them (_INTO_LAST: into the one before), or leave out altogether.
_INTO_NEXT = ("PAD", "PADV2")
_FOLDABLE = (*_INTO_NEXT, *_INTO_LAST, *_LAYOUT, "QUANTIZE", "DEQUANTIZE", "TRANSPOSE")
# What it costs to leave an op out that may be folded, another op, and one of XNNPACK's.
_FOLD, _MISS, _STRANGE = 1, 8, 8


@dataclass(frozen=True)
class Matching:
    """Two lists laid side by side.

    Attributes:
        partner: For each of XNNPACK's ops the position of the file's op, ``None`` where that is not certain.
        folded: Positions of the file's ops that surely have none of XNNPACK's ops, and are of a kind that it folds.
    """

    partner: tuple[int | None, ...]
    folded: frozenset[int]


def stands_for(kernel: str, op: str) -> bool:
    """Whether one of XNNPACK's ops, by its full name, can stand for an op of the file."""
    return op in _STANDS_FOR.get(kernel.partition(" (")[0], ())


def match(kernels: Sequence[str], ops: Sequence[str]) -> Matching:
    """Lays XNNPACK's ops of one partition beside the ops of the file that it holds.

    Args:
        kernels: Names of XNNPACK's ops in order of execution.
        ops: Names of the file's ops in its order.
    """
    # Cheapest ways up to each pair of positions, and from there to the end.
    ahead, behind = _costs(kernels, ops), [row[::-1] for row in _costs(kernels[::-1], ops[::-1])[::-1]]
    least = ahead[-1][-1]
    partner: list[int | None] = []
    touched: set[int] = set()
    for row, kernel in enumerate(kernels):
        choices = [
            column
            for column, op in enumerate(ops)
            if stands_for(kernel, op) and _through(ahead, behind, kernels, row, column, op) == least
        ]
        # It may also stand for nothing on an equally cheap way.
        strange = any(ahead[row][at] + _STRANGE + behind[row + 1][at] == least for at in range(len(ops) + 1))
        partner.append(choices[0] if len(choices) == 1 and not strange else None)
        touched |= set(choices)
    folded = frozenset(column for column, op in enumerate(ops) if op in _FOLDABLE and column not in touched)
    return Matching(tuple(partner), folded)


def _through(
    ahead: list[list[int]], behind: list[list[int]], kernels: Sequence[str], row: int, column: int, op: str
) -> int:
    """Cheapest way on which this kernel, and others beside it where the op may have several, stand for this op."""
    first, last = ahead[row][column], behind[row + 1][column + 1]
    if op in _SEVERAL:
        at = row
        while at > 0 and stands_for(kernels[at - 1], op):
            at -= 1
            first = min(first, ahead[at][column])
        at = row + 1
        while at < len(kernels) and stands_for(kernels[at], op):
            at += 1
            last = min(last, behind[at][column + 1])
    return first + last


def _costs(kernels: Sequence[str], ops: Sequence[str]) -> list[list[int]]:
    """``costs[i][j]``: cheapest way to lay the first ``i`` of one list beside the first ``j`` of the other."""
    costs = [[0] * (len(ops) + 1) for _ in range(len(kernels) + 1)]
    for column, op in enumerate(ops):
        costs[0][column + 1] = costs[0][column] + _leave(op)
    for row, kernel in enumerate(kernels):
        last, now = costs[row], costs[row + 1]
        now[0] = last[0] + _STRANGE
        for column, op in enumerate(ops):
            best = min(now[column] + _leave(op), last[column + 1] + _STRANGE)
            if stands_for(kernel, op):
                best = min(best, _run(costs, kernels, row, column, op))
            now[column + 1] = best
    return costs


def _run(costs: list[list[int]], kernels: Sequence[str], row: int, column: int, op: str) -> int:
    """Cheapest way that ends with this kernel, and those right before it where the op may have several, at this op."""
    best = costs[row][column]
    while op in _SEVERAL and row > 0 and stands_for(kernels[row - 1], op):
        row -= 1
        best = min(best, costs[row][column])
    return best


def _leave(op: str) -> int:
    return _FOLD if op in _FOLDABLE else _MISS


def partitions(nodes: Sequence[NodeFact]) -> list[list[NodeFact]]:
    """The parts XNNPACK runs, in order of execution.

    The interpreter takes in turn all ops that are ready and XNNPACK's, then all that are ready and not, and so on.
    """
    waiting = {tensor for node in nodes for tensor in node.outputs}
    left, parts = list(nodes), []
    while left:
        first = next((node for node in left if not waiting.intersection(node.inputs)), None)
        if first is None:
            break
        part: list[NodeFact] = []
        rest: list[NodeFact] = []
        # The file's order is one of execution, so one pass finds all.
        for node in left:
            if node.delegated == first.delegated and not waiting.intersection(node.inputs):
                part.append(node)
                waiting.difference_update(node.outputs)
            else:
                rest.append(node)
        left = rest
        if first.delegated:
            parts.append(part)
    return parts


def folded_into(node: NodeFact, nodes: Mapping[int, NodeFact]) -> int | None:
    """Position of the op that a folded one became part of, where its kind tells."""
    if node.name in _INTO_NEXT:
        return next((other.index for other in nodes.values() if set(other.inputs) & set(node.outputs)), None)
    if node.name in _INTO_LAST:
        return next((other.index for other in nodes.values() if set(other.outputs) & set(node.inputs)), None)
    return None
