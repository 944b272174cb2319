"""The child process that measures: ``python -m runtime.profile.child`` reads a request and writes what it found.

It loads a library by guesses about its insides, and kernels made for newer processors may end it by an illegal
instruction. Both then end this process alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime import amx, board
from runtime.engine import Engine
from runtime.errors import EdgewrenError
from runtime.ops import list_ops
from runtime.profile.facts import EventFact, Measurement, NodeFact, Request, TensorFact
from runtime.profile.gemm import best_gemm, copy_speed
from runtime.profile.native import NativeProfiler, ProfilerError, Sample
from runtime.rounds import WARM_UP, Conditions, statistics
from runtime.schema import decode, encode

# Runs of one kind before the other takes its turn: both hold the weights, so each would find the caches full of the
# other's; the first run after a change does not count.
_BLOCK = 10


def main() -> int:
    """Reads a request from standard input, writes a measurement or an error to standard output, both as JSON."""
    request = decode(Request, json.loads(sys.stdin.read()), "request")
    try:
        answer: dict[str, Any] = {"measurement": encode(measure(request))}
    except EdgewrenError as error:
        answer = {"error": [error.seen, error.expected, error.action], "exit_status": error.exit_status}
    print(json.dumps(answer))
    return 0


def measure(request: Request) -> Measurement:
    """Measures a model.

    Raises:
        InputError: Not a model file, or one the interpreter refuses.
        RunError: The interpreter does not list its ops.
    """
    conditions = Conditions()
    engine = Engine(Path(request.model), request.threads)
    listed = list_ops(engine)
    inputs = _fill_inputs(engine)
    engine.invoke()
    native, finding = _open(request, engine, inputs)
    whole, profiled, runs = _take_turns(engine, native, request.runs)
    nodes = _nodes(engine, {op.index: (op.delegated, op.reason) for op in listed.ops})
    tensors = _tensors(engine, nodes)
    events, odd = _combine(runs)
    return Measurement(
        provider=engine.provider,
        tensors=tensors,
        nodes=nodes,
        partitions=listed.partitions,
        invoke_ms=statistics(whole),
        profiled_ms=round(float(np.median(profiled)), 4) if len(profiled) else 0.0,
        events=events,
        gemms=tuple(best_gemm(dtype, request.threads) for dtype in _formats(nodes, tensors)),
        copy_gbs=copy_speed(),
        finding=finding or odd,
        throttled=conditions.figures()["throttled"],
        machine=board.cpu_name(),
    )


def _fill_inputs(engine: Engine) -> dict[int, npt.NDArray[Any]]:
    """Noise over the whole range of each input; returns it by tensor index."""
    random, held = np.random.default_rng(0), {}
    for position, (spec, detail) in enumerate(zip(engine.inputs, engine.interpreter.get_input_details(), strict=True)):
        if np.issubdtype(spec.dtype, np.floating):
            values = random.uniform(-1, 1, spec.shape).astype(spec.dtype)
        elif spec.dtype in (np.int8, np.uint8):
            info = np.iinfo(spec.dtype)
            values = random.integers(info.min, info.max + 1, spec.shape).astype(spec.dtype)
        else:
            # Other integers are sizes, indices or truth values: one is safe for all of them.
            values = np.ones(spec.shape, spec.dtype)
        engine.input_view(position)[...] = values
        held[int(detail["index"])] = values
    return held


def _open(request: Request, engine: Engine, inputs: dict[int, npt.NDArray[Any]]) -> tuple[NativeProfiler | None, str]:
    if not request.library:
        return None, ""
    # Outputs whose size depends on the input have it after a run.
    outputs = {}
    for detail in engine.interpreter.get_output_details():
        index = int(detail["index"])
        array = engine.interpreter.get_tensor(index)
        outputs[index] = (array.shape, array.dtype)
    try:
        with amx.only_if_it_suits(engine.path):
            profiler = NativeProfiler(Path(request.library), engine.path, request.threads, inputs, outputs)
            profiler.run()
    except ProfilerError as error:
        return None, str(error)
    return profiler, ""


def _take_turns(
    engine: Engine, native: NativeProfiler | None, runs: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[list[Sample]]]:
    """Milliseconds of the interpreter's runs and of those under the profiler, and what it saw in each of these."""
    whole: list[float] = []
    profiled: list[float] = []
    seen: list[list[Sample]] = []
    for _ in range(WARM_UP):
        engine.invoke()
    for done in range(0, runs, _BLOCK):
        size = min(_BLOCK, runs - done)
        engine.invoke()
        whole += [_ms(engine.invoke) for _ in range(size)]
        if native is None:
            continue
        native.run()
        for _ in range(size):
            native.start()
            profiled.append(_ms(native.run))
            seen.append(native.stop())
    return np.array(whole), np.array(profiled), seen


def _ms(work: Any) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def _combine(runs: Sequence[Sequence[Sample]]) -> tuple[tuple[EventFact, ...], str]:
    """One fact per op over all runs."""
    if not runs:
        return (), ""
    names = [(sample.xnnpack, sample.name, sample.index) for sample in runs[0]]
    same = [run for run in runs if [(sample.xnnpack, sample.name, sample.index) for sample in run] == names]
    if not names or 2 * len(same) < len(runs):
        return (), "the profiler saw nothing that repeats from run to run"
    ticks = np.array([[sample.microseconds for sample in run] for run in same], np.float64)
    # XNNPACK cuts its times to whole microseconds; half of one is what that takes away on average.
    ticks += 0.5 * np.array([xnnpack for xnnpack, _, _ in names])
    ticks.sort(axis=0)
    # Steady as a median, and finer than the clock's whole microseconds.
    middle = ticks[len(ticks) // 4 : len(ticks) - len(ticks) // 4].mean(axis=0)
    return tuple(
        EventFact(*name, round(float(ms) / 1e3, 6), round(float(least) / 1e3, 6))
        for name, ms, least in zip(names, middle, ticks[0], strict=True)
    ), ""


def _nodes(engine: Engine, listed: dict[int, tuple[bool, str]]) -> tuple[NodeFact, ...]:
    details = {detail["index"]: detail for detail in engine.interpreter._get_ops_details()}
    return tuple(
        NodeFact(
            index,
            details[index]["op_name"],
            tuple(int(tensor) for tensor in details[index]["inputs"] if tensor >= 0),
            tuple(int(tensor) for tensor in details[index]["outputs"]),
            delegated,
            reason,
        )
        for index, (delegated, reason) in listed.items()
    )


def _tensors(engine: Engine, nodes: Sequence[NodeFact]) -> dict[str, TensorFact]:
    """The tensors the ops use, by index (as text: JSON has no other keys)."""
    made = {tensor for node in nodes for tensor in node.outputs}
    made |= {int(detail["index"]) for detail in engine.interpreter.get_input_details()}
    used = sorted(made | {tensor for node in nodes for tensor in node.inputs})
    facts = {}
    for tensor in used:
        detail = engine.interpreter._get_tensor_details(tensor, 0)
        shape = tuple(int(size) for size in detail["shape"])
        facts[str(tensor)] = TensorFact(detail["name"], shape, np.dtype(detail["dtype"]).name, tensor not in made)
    return facts


def _formats(nodes: Sequence[NodeFact], tensors: dict[str, TensorFact]) -> tuple[str, ...]:
    """Number formats to measure matrix products in: int8, and what the model's own convolutions work with."""
    kinds = ("CONV_2D", "FULLY_CONNECTED")
    own = {tensors[str(node.inputs[0])].dtype for node in nodes if node.name in kinds and node.inputs}
    return ("int8", *sorted(own & {"uint8", "float32"}))


if __name__ == "__main__":
    raise SystemExit(main())
