"""How fast this machine multiplies matrices with XNNPACK: the roof that ops are compared with.

The products are 1x1 convolutions in model files of one op, written here, so that the very kernels that run models are
measured. (NumPy's int8 product is no measure: it has no vector kernel. The best op of the model at hand is none either:
it would call a model with nothing but bad shapes perfect.) The file format is that of ``schema.fbs``; a table is
written as its index, its fields, eight bytes each, and then whatever the fields point to.
"""

from __future__ import annotations

import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from runtime.engine import Engine
from runtime.profile.facts import GemmFact

# Rows, columns, terms: at least 50 million MACs, so that the call itself does not count; weights that fit into a
# small board's second-level cache; sizes that are multiples of every kernel's tile.
SHAPES = ((1024, 256, 256), (512, 512, 512), (2304, 128, 192))
_RUNS, _WARM_UP = 20, 3
_COPY_BYTES, _PIECE, _COPIES = 32 << 20, 1 << 20, 6

# Numbers of the schema.
_CONV_2D, _CONV_2D_OPTIONS = 3, 1
_TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int8": 9}


Number = tuple[str, int]
Content: TypeAlias = "Node | list[Node] | npt.NDArray[Any] | bytes"


class Node:
    """A table: its fields by position, ``at0`` the first. A number comes with ``struct``'s letter for its type."""

    def __init__(self, **fields: Number | Content) -> None:
        self.fields = {int(name.removeprefix("at")): value for name, value in fields.items()}


def best_gemm(dtype: str, threads: int) -> GemmFact:
    """The fastest of some matrix products.

    Args:
        dtype: ``int8`` (weights with a scale per column), ``uint8`` or ``float32``.
        threads: Worker threads.
    """
    facts = []
    for m, n, k in SHAPES:
        seconds = _seconds(gemm_model(dtype, m, n, k), threads)
        facts.append(GemmFact(dtype, m, n, k, round(m * n * k / seconds / 1e9, 3)))
    return max(facts, key=lambda fact: fact.gmacs)


def copy_speed() -> float:
    """Memory copied by one core where no cache helps, 1e9 bytes a second, read and written both counted."""
    source, target = np.ones(_COPY_BYTES, np.int8), np.ones(_COPY_BYTES, np.int8)
    seconds = []
    # In pieces, each soon done, so that other programs disturb few of them.
    for first in [*range(0, _COPY_BYTES, _PIECE)] * _COPIES:
        start = time.perf_counter()
        np.copyto(target[first : first + _PIECE], source[first : first + _PIECE])
        seconds.append(time.perf_counter() - start)
    return round(2 * _PIECE / float(np.percentile(seconds, 25)) / 1e9, 3)


def gemm_model(dtype: str, m: int, n: int, k: int) -> bytes:
    """A ``.tflite`` of one op: ``(1, 1, m, k)`` by random weights ``(n, 1, 1, k)`` gives ``(1, 1, m, n)``."""
    random = np.random.default_rng(0)
    if dtype == "float32":
        weights, bias = random.normal(0, 1, (n, k)).astype(np.float32), np.zeros(n, np.float32)
        scales: list[list[float]] = [[], [], [], []]
    else:
        info = np.iinfo(dtype)
        weights = random.integers(max(info.min, -127), info.max + 1, (n, k)).astype(dtype)
        bias = np.zeros(n, np.int32)
        per_column = n if dtype == "int8" else 1
        scales = [[0.02], [0.01] * per_column, [0.0002] * per_column, [k * 0.02]]
    zero = 128 if dtype == "uint8" else 0
    tensors = [
        _tensor("input", (1, 1, m, k), dtype, 0, scales[0], zero),
        _tensor("weights", (n, 1, 1, k), dtype, 1, scales[1], zero),
        _tensor("bias", (n,), str(bias.dtype), 2, scales[2], 0),
        _tensor("output", (1, 1, m, n), dtype, 0, scales[3], zero),
    ]
    options = Node(at0=("b", 1), at1=("i", 1), at2=("i", 1))
    op = Node(at1=_integers(0, 1, 2), at2=_integers(3), at3=("B", _CONV_2D_OPTIONS), at4=options)
    graph = Node(at0=tensors, at1=_integers(0), at2=_integers(3), at3=[op], at4=b"main")
    code = Node(at0=("b", _CONV_2D), at2=("i", 3), at3=("i", _CONV_2D))
    buffers = [Node(), *(Node(at0=np.frombuffer(array.tobytes(), np.uint8)) for array in (weights, bias))]
    return serialise(Node(at0=("I", 3), at1=[code], at2=[graph], at3=b"matrix product", at4=buffers))


def serialise(root: Node) -> bytes:
    """The bytes of a model file."""
    data = bytearray(struct.pack("<I4s", 0, b"TFL3"))
    struct.pack_into("<I", data, 0, _write_table(data, root))
    return bytes(data)


def _tensor(name: str, shape: Sequence[int], dtype: str, buffer: int, scales: Sequence[float], zero: int) -> Node:
    zeros = np.full(len(scales), zero, np.int64)
    quantization = {"at4": Node(at2=np.array(scales, np.float32), at3=zeros)} if scales else {}
    return Node(at0=_integers(*shape), at1=("b", _TYPES[dtype]), at2=("I", buffer), at3=name.encode(), **quantization)


def _integers(*values: int) -> npt.NDArray[np.int32]:
    return np.array(values, np.int32)


def _write_table(data: bytearray, node: Node) -> int:
    """Appends a table with all below it; returns where it starts."""
    slots = max(node.fields, default=-1) + 1
    places = {slot: 8 + 8 * rank for rank, slot in enumerate(sorted(node.fields))}
    _pad(data, 2)
    index = len(data)
    data += struct.pack("<HH", 4 + 2 * slots, 8 + 8 * len(places))
    data += struct.pack(f"<{slots}H", *(places.get(slot, 0) for slot in range(slots)))
    _pad(data, 8)
    start = len(data)
    data += struct.pack("<i", start - index) + bytes(4 + 8 * len(places))
    for slot, value in node.fields.items():
        place = start + places[slot]
        if isinstance(value, tuple):
            kind, number = value
            struct.pack_into("<" + kind, data, place, number)
        else:
            struct.pack_into("<I", data, place, _write(data, value) - place)
    return start


def _write(data: bytearray, value: Content) -> int:
    if isinstance(value, Node):
        return _write_table(data, value)
    if isinstance(value, (bytes, np.ndarray)):
        raw, count = (value + b"\0", len(value)) if isinstance(value, bytes) else (value.tobytes(), value.size)
        _pad(data, 16, 4)
        data += struct.pack("<I", count) + raw
        return len(data) - len(raw) - 4
    _pad(data, 4)
    start = len(data)
    data += struct.pack("<I", len(value)) + bytes(4 * len(value))
    for position, child in enumerate(value):
        place = start + 4 + 4 * position
        struct.pack_into("<I", data, place, _write_table(data, child) - place)
    return start


def _pad(data: bytearray, to: int, before: int = 0) -> None:
    data += bytes(-(len(data) + before) % to)


def _seconds(model: bytes, threads: int) -> float:
    with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
        path = Path(folder) / "gemm.tflite"
        path.write_bytes(model)
        engine = Engine(path, threads)
        best = np.inf
        for run in range(-_WARM_UP, _RUNS):
            start = time.perf_counter()
            engine.invoke()
            if run >= 0:
                best = min(best, time.perf_counter() - start)
    return float(best)
