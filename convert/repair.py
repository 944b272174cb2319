"""When int8 misses its budget: the fewest tensors kept in float that meet it.

Everything that costs nothing on the device (equalised channels, searched ranges, refitted weights, split heads) is in
every conversion. What is left costs time: tensors that stay float. They are taken in the order of what they bring for
what they cost, in growing sets, each a real file with weights fitted to it, measured and timed (``prices``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.accuracy_text import drop, figure
from convert.budget import holds
from convert.candidate import Candidate, Workbench
from convert.prices import affordable
from convert.progress import Progress
from convert.quantize.ptq import Quantized, leave_float
from convert.recipe import Budget
from convert.stopwatch import time_files
from runtime.board import cpu_name

# The tries, as shares of the tensors that the allowed time pays for.
_SHARES = (0.25, 0.5, 1.0)
# Share of the allowed time that is spent: measured again, it may be a little more.
_MARGIN = 0.9

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One way to convert the network.

    Attributes:
        name: For people.
        left: Tensors that stay float.
        quantized: The network with these in float.
        candidate: The file and its accuracy.
        slowdown: Percent that an inference takes longer than in pure int8; see ``convert.stopwatch.Timing``.
        ms: Milliseconds per inference, likewise.
    """

    name: str
    left: tuple[str, ...]
    quantized: Quantized
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
    say("budget missed: timing what tensors cost in float (this takes a few minutes)")
    paid = affordable(quantized, first.bare, _MARGIN * allowed, workbench, Progress("timing"))
    steps = [Step("int8", (), quantized, first, 0.0, time_files([first.bare])[0].ms)]
    for count in sorted({max(1, round(share * len(paid))) for share in _SHARES}) if paid else []:
        left = tuple(point for unit in paid[:count] for point in unit.points)
        say(f"trying {len(left)} tensors in float")
        partly = leave_float(quantized, frozenset(left), samples)
        candidate = workbench.convert(partly, "mixed")
        timing = time_files([first.bare, candidate.bare])[1]
        steps.append(Step(f"{len(left)} tensors in float", left, partly, candidate, timing.slowdown, timing.ms))
        if within(steps[-1], budget):
            break
    return tuple(steps)


def within(step: Step, budget: Budget) -> bool:
    """Whether a step is accurate and fast enough."""
    if step.left and step.slowdown > (budget.max_slowdown or 0):
        return False
    return holds(step.candidate.card.accuracy, budget)


def best_step(steps: tuple[Step, ...], budget: Budget) -> Step | None:
    """The step with the fewest float tensors that is within the budget."""
    good = [step for step in steps if within(step, budget)]
    return min(good, key=lambda step: len(step.left), default=None)


def table(steps: tuple[Step, ...]) -> str:
    """What each step costs and brings, as lines."""
    width = max(len(step.name) for step in steps)
    lines = [f"  {'':{width}}    AP50   drop  agreement     bytes       ms  slower"]
    for step in steps:
        row = step.candidate.card.accuracy[0]
        lines.append(
            f"  {step.name:{width}}  {figure(row.int8_map50):>6} {figure(drop(row)):>6}"
            f"  {row.agreement_f1:9.1f}  {len(step.candidate.bare):8}  {step.ms:7.2f}  {step.slowdown:+5.1f}%"
        )
    return "\n".join([*lines, f"  milliseconds: one thread of {cpu_name()}"])
