"""When int8 misses its budget: the fewest tensors kept in float that meet it.

Everything that costs nothing on the device (equalised channels, searched ranges, refitted weights, split heads) is in
every conversion. What is left costs time: tensors that stay float. They are taken in the order of what they bring for
what they cost; how many it takes is found by doubling and then halving, each step a real file, measured and timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convert.budget import check_budget
from convert.candidate import Candidate, Workbench
from convert.quantize.noise import units
from convert.quantize.package import pack
from convert.quantize.ptq import Quantized
from convert.recipe import Budget
from runtime.bench import bench
from runtime.errors import BudgetError

_RUNS = 60
# More would be a float network with extra steps.
_MOST = 32

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


def repair(quantized: Quantized, first: Candidate, workbench: Workbench, budget: Budget, say: Say) -> tuple[Step, ...]:
    """Tries ever more float tensors until the budget holds.

    Args:
        quantized: The network.
        first: Its pure int8 conversion, which missed the budget.
        workbench: Converts and measures.
        budget: What is wanted; ``max_slowdown`` is what may be paid for it.
        say: Takes progress messages.

    Returns:
        All steps in the order they were tried, pure int8 first. The last one that is within the budget and its
        ``max_slowdown`` is the smallest found; there may be none.
    """
    ladder = units(quantized)
    steps = [Step("int8", (), first, 0.0, _milliseconds(first, first)[1])]
    failed, passed, count = 0, None, 1
    while count <= min(_MOST, len(ladder)):
        left = tuple(point for unit in ladder[:count] for point in unit.points)
        say(f"budget missed: trying {len(left)} tensors in float")
        candidate = workbench.convert(quantized, leave=frozenset(left))
        base, ms = _milliseconds(first, candidate)
        step = Step(f"{len(left)} tensors in float", left, candidate, 100 * (ms / base - 1), ms)
        steps.append(step)
        if within(step, budget):
            passed = count
        elif passed is None and step.slowdown > (budget.max_slowdown or 0):
            break
        else:
            failed = count
        if passed is None:
            count *= 2
        elif passed - failed > 1:
            count = (passed + failed) // 2
        else:
            break
    return tuple(steps)


def within(step: Step, budget: Budget) -> bool:
    """Whether a step is accurate and fast enough."""
    if step.left and step.slowdown > (budget.max_slowdown or 0):
        return False
    try:
        check_budget(step.candidate.card.accuracy, budget)
    except BudgetError:
        return False
    return True


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
