"""When int8 misses its budget: the fewest tensors kept in float that meet it.

Everything that costs nothing on the device (equalised channels, searched ranges, refitted weights, split heads) is in
every conversion. What is left costs time: tensors that stay float. They are taken in the order of what they bring for
what they cost, in growing sets, each a real file with weights fitted to it, measured and timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.budget import holds
from convert.candidate import Candidate, Workbench
from convert.prices import milliseconds, price, sets_within
from convert.progress import Progress
from convert.quantize.ptq import Quantized, leave_float
from convert.recipe import Budget

# How far each try goes, relative to what is allowed; the last goes beyond, because costs do not simply add up.
_SHARES = (0.2, 0.5, 1.0, 1.5)

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
    say("budget missed: timing what tensors cost in float (this takes a few minutes)")
    prices = price(quantized, first, workbench, Progress("timing"))
    steps = [Step("int8", (), first, 0.0, milliseconds([first.bare], first)[0])]
    for left in sets_within(prices, [share * allowed for share in _SHARES]):
        say(f"trying {len(left)} tensors in float")
        candidate = workbench.convert(leave_float(quantized, frozenset(left), samples), "mixed")
        base, ms = milliseconds([first.bare, candidate.bare], first)
        steps.append(Step(f"{len(left)} tensors in float", left, candidate, 100 * (ms / base - 1), ms))
        if within(steps[-1], budget) or steps[-1].slowdown > allowed:
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
            f"  {step.name:{width}}  {row.int8_map50:6.1f} {row.float_map50 - row.int8_map50:6.1f}"
            f"  {row.agreement_f1:9.1f}  {len(step.candidate.bare):8}  {step.ms:7.2f}  {step.slowdown:+5.1f}%"
        )
    return "\n".join(lines)
