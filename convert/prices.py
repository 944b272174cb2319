"""What it costs to keep tensors in float, measured on this machine.

Counting work does not tell: of two neighbouring layers with the same number of operations one may cost nothing in float
(few channels leave int8 lanes empty) and the other a quarter of the whole network. So each candidate becomes a file of
its own, and all files are timed in turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence

from convert.candidate import Workbench
from convert.quantize.noise import Unit, units
from convert.quantize.ptq import Quantized
from convert.stopwatch import time_files
from runtime.errors import RunError

# So many units are timed, and more where they can all be float.
_BATCH = 24
# Percent that the timing cannot tell from nothing.
_RESOLUTION = 0.25


def affordable(
    quantized: Quantized, first: bytes, allowed: float, workbench: Workbench, progress: Callable[[int, int], None]
) -> list[Unit]:
    """Tensors that can be float together, those that bring most noise for their time first.

    Args:
        quantized: The network.
        first: Its pure int8 conversion.
        allowed: Percent that an inference may take longer.
        workbench: Converts.
        progress: Called with (done, total) files of a batch.
    """
    prices: list[tuple[Unit, float]] = []

    def slowdown(count: int) -> float:
        together = [point for unit, _ in prices[:count] for point in unit.points]
        try:
            file = _float_file(quantized, together, workbench)
        except RunError:
            return math.inf
        return time_files([first, file])[1].slowdown

    ladder = units(quantized)
    while True:
        batch, ladder = ladder[:_BATCH], ladder[_BATCH:]
        prices += price(quantized, first, batch, workbench, progress)
        prices.sort(key=lambda each: -each[0].noise / max(each[1], _RESOLUTION))
        fits = longest_within(len(prices), slowdown, allowed)
        if fits < len(prices) or not ladder:
            return [unit for unit, _ in prices[:fits]]


def price(
    quantized: Quantized,
    first: bytes,
    ladder: Sequence[Unit],
    workbench: Workbench,
    progress: Callable[[int, int], None],
) -> list[tuple[Unit, float]]:
    """Times units, each alone in float, beside the pure int8 conversion ``first``: percent slower.

    What the converter cannot leave in float is left out: it stays int8.
    """
    chosen, files = [], [first]
    for done, unit in enumerate(ladder, 1):
        with contextlib.suppress(RunError):
            files.append(_float_file(quantized, unit.points, workbench))
            chosen.append(unit)
        progress(done, len(ladder))
    timings = time_files(files)[1:]
    return [(unit, each.slowdown) for unit, each in zip(chosen, timings, strict=True)]


def _float_file(quantized: Quantized, points: Sequence[str], workbench: Workbench) -> bytes:
    """A conversion with tensors left in float, its weights as they are: good for its time alone."""
    return workbench.file(dataclasses.replace(quantized, leave=frozenset(points)), "mixed")


def longest_within(sets: int, slowdown: Callable[[int], float], allowed: float) -> int:
    """The longest beginning of a list whose cost is allowed.

    Costs of single tensors do not simply add up: neighbours share conversions, and each is measured with some error.
    So beginnings are measured whole, by bisection.

    Args:
        sets: Length of the list.
        slowdown: Percent that the first so many cost together; called with 1..``sets``.
        allowed: Percent.

    Returns:
        0..``sets``.
    """
    fits, too_long = 0, sets + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if slowdown(middle) <= allowed:
            fits = middle
        else:
            too_long = middle
    return fits
