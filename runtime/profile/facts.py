"""What the child process measured, as plain data: the types that cross from it to its parent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """What is to be measured.

    Attributes:
        model: Path of a ``.tflite`` file.
        threads: Worker threads.
        runs: Timed runs.
        library: Path of the library with the profiler; empty to time whole runs only.
    """

    model: str
    threads: int
    runs: int
    library: str = ""


@dataclass(frozen=True)
class TensorFact:
    """A tensor: name, shape as it is when the model runs, NumPy's name of its type, and whether the file holds it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool


@dataclass(frozen=True)
class NodeFact:
    """An op of the file: position, name, positions of its tensors, and what XNNPACK says to it (:class:`OpInfo`)."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    delegated: bool
    reason: str


@dataclass(frozen=True)
class EventFact:
    """A timed op, of the file or of XNNPACK, over all runs.

    Attributes:
        xnnpack: One of XNNPACK's own ops; else an op of the file.
        name, index: As :class:`runtime.profile.native.Sample` has them.
        median_ms: Mean of the middle half of the runs, milliseconds: steady as a median, finer than the clock.
        min_ms: The least, milliseconds.
    """

    xnnpack: bool
    name: str
    index: int
    median_ms: float
    min_ms: float


@dataclass(frozen=True)
class GemmFact:
    """A matrix product as fast as this machine does it: ``m`` rows, ``n`` columns, ``k`` terms, 1e9 MACs a second."""

    dtype: str
    m: int
    n: int
    k: int
    gmacs: float


@dataclass(frozen=True)
class Measurement:
    """Everything the child found out.

    Attributes:
        provider: Name and version of the interpreter.
        tensors, nodes: The network.
        partitions: In how many parts XNNPACK runs what it took.
        invoke_ms: ``min``, ``median``, ``p95`` and ``p99`` of whole runs of the interpreter, milliseconds.
        profiled_ms: Median of whole runs under the profiler; 0.0 without one.
        events: Timed ops in order of execution; empty without a profiler.
        gemms: The best matrix product of each number format asked for.
        copy_gbs: Memory copied, 1e9 bytes a second, read and written both counted; 0.0 when not measured.
        finding: Why there are no times per op, in one line; empty when there are.
        throttled, machine: As :class:`runtime.rounds.Conditions` has them.
    """

    provider: str
    tensors: dict[str, TensorFact]
    nodes: tuple[NodeFact, ...]
    partitions: int
    invoke_ms: dict[str, float]
    profiled_ms: float = 0.0
    events: tuple[EventFact, ...] = ()
    gemms: tuple[GemmFact, ...] = ()
    copy_gbs: float = 0.0
    finding: str = ""
    throttled: bool | None = None
    machine: str = ""
