"""When int8 misses its budget: the fewest tensors kept in float that meet it.

Everything that costs nothing on the device (equalised channels, searched ranges, refitted weights, split heads) is in
every conversion. What is left costs time: tensors that stay float. They are taken in the order of what they bring for
what they cost, in growing sets, each a real file with weights fitted to it, measured and timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.budget import holds
from convert.candidate import Candidate, Workbench
from convert.quantize.noise import network_work, units
from convert.quantize.package import pack
from convert.quantize.ptq import Quantized, leave_float
from convert.recipe import Budget
from runtime.bench import bench

_RUNS = 60
# How far each try goes, relative to what is allowed by the estimate.
_SHARES = (0.25, 0.5, 1.0, 2.0, 3.0)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One way to convert the network.

    Attributes:
        name: For people.
        left: Tensors that stay float.
        candidate: The file and its accuracy.
        slowdown: Milliseconds more per inference than pure int8, in percent; one thread, median of interleaved runs.
        ms: Milliseconds per inference, likewise.
    """

    name: str
    left: tuple[str, ...]
    candidate: Candidate
    slowdown: float
    ms: float


def repair(
    quantized: Quantized,
    samples: npt.NDArray[np.float32],
    first: Candidate,
    workbench: Workbench,
    budget: Budget,
    say: Say,
) -> tuple[Step, ...]:
    """Tries ever more float tensors until the budget holds.

    Args:
        quantized: The network.
        samples: The calibration inputs it was made with.
        first: Its pure int8 conversion, which missed the budget.
        workbench: Converts and measures.
        budget: What is wanted; ``max_slowdown`` is what may be paid for it.
        say: Takes progress messages.

    Returns:
        All steps in the order they were tried, pure int8 first; the last one may be within the budget.
    """
    allowed = budget.max_slowdown or 0.0
    steps = [Step("int8", (), first, 0.0, _milliseconds(first, first)[1])]
    for left in rungs(quantized, allowed / 100):
        say(f"budget missed: trying {len(left)} tensors in float")
        candidate = workbench.convert(leave_float(quantized, frozenset(left), samples), "mixed")
        base, ms = _milliseconds(first, candidate)
        steps.append(Step(f"{len(left)} tensors in float", left, candidate, 100 * (ms / base - 1), ms))
        if within(steps[-1], budget) or steps[-1].slowdown > allowed:
            break
    return tuple(steps)


def rungs(quantized: Quantized, allowed: float) -> list[tuple[str, ...]]:
    """Sets of tensors to keep in float, small ones first.

    Args:
        quantized: The network.
        allowed: Share of the network's work that may become slower.

    Returns:
        The tensors that bring most for their cost, up to growing shares of ``allowed``; beyond it too, because the
        share is an estimate, and the slowdown is measured.
    """
    ladder, total = units(quantized), network_work(quantized.exact)
    sets: list[tuple[str, ...]] = []
    for share in _SHARES:
        left: list[str] = []
        spent = 0.0
        for unit in ladder:
            if left and spent + unit.cost > share * allowed * total:
                break
            spent += unit.cost
            left += unit.points
        if left and (not sets or len(left) > len(sets[-1])):
            sets.append(tuple(left))
    return sets


def within(step: Step, budget: Budget) -> bool:
    """Whether a step is accurate and fast enough."""
    if step.left and step.slowdown > (budget.max_slowdown or 0):
        return False
    return holds(step.candidate.card.accuracy, budget)


def best_step(steps: tuple[Step, ...], budget: Budget) -> Step | None:
    """The step with the fewest float tensors that is within the budget."""
    good = [step for step in steps if within(step, budget)]
    return min(good, key=lambda step: len(step.left), default=None)


def _milliseconds(first: Candidate, other: Candidate) -> tuple[float, float]:
    """Median inference of two files in one interleaved run, one thread."""
    with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
        paths = [Path(folder) / name for name in ("int8.tflite", "other.tflite")]
        for path, candidate in zip(paths, (first, other), strict=True):
            path.write_bytes(pack(candidate.bare, candidate.card))
        base, ms = (float(row["inference_ms"]["median"]) for row in bench(paths, [1], _RUNS))
    return base, ms


def table(steps: tuple[Step, ...]) -> str:
    """What each step costs and brings, as lines."""
    width = max(len(step.name) for step in steps)
    lines = [f"  {'':{width}}    AP50   drop  agreement     bytes       ms  slower"]
    for step in steps:
        row = step.candidate.card.accuracy[0]
        lines.append(
            f"  {step.name:{width}}  {row.int8_map50:6.1f} {row.float_map50 - row.int8_map50:6.1f}"
            f"  {row.agreement_f1:9.1f}  {len(step.candidate.bare):8}  {step.ms:7.2f}  {step.slowdown:+5.1f}%"
        )
    return "\n".join(lines)
