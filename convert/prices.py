"""What it costs to keep tensors in float, measured on this machine.

Counting work does not tell: of two neighbouring layers with the same number of operations one may cost nothing in float
(few channels leave int8 lanes empty) and the other a quarter of the whole network. So each candidate becomes a file of
its own, and all files are timed in turn.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.candidate import Candidate, Workbench
from convert.quantize.noise import Unit, units
from convert.quantize.package import pack
from convert.quantize.ptq import Quantized
from runtime.bench import bench

_RUNS = 80
# So many units are timed, unless fewer of them bring this share of all noise.
_MOST_UNITS, _MOST_NOISE = 24, 0.9
# Percent that the timing cannot tell from nothing.
_RESOLUTION = 0.25


@dataclass(frozen=True)
class Priced:
    """Tensors that leave int8 together.

    Attributes:
        points: Their names.
        noise: Share of all predicted noise at the outputs that their rounding brings, 0..1.
        slowdown: Milliseconds more per inference when they alone are float, in percent; below 0 where float is faster.
    """

    points: tuple[str, ...]
    noise: float
    slowdown: float


def price(
    quantized: Quantized, first: Candidate, workbench: Workbench, progress: Callable[[int, int], None] | None = None
) -> list[Priced]:
    """Times the tensors that bring most noise for the least work, each alone in float.

    Args:
        quantized: The network.
        first: Its pure int8 conversion.
        workbench: Converts.
        progress: Called with (done, total) files.

    Returns:
        One entry for each, in no order that means anything.

    Raises:
        RunError: The converter failed.
    """
    chosen = _worth_timing(units(quantized))
    files = []
    for done, unit in enumerate(chosen, 1):
        files.append(workbench.file(dataclasses.replace(quantized, leave=frozenset(unit.points)), "mixed"))
        if progress:
            progress(done, len(chosen))
    base, *others = milliseconds([first.bare, *files], first)
    return [Priced(unit.points, unit.noise, 100 * (ms / base - 1)) for unit, ms in zip(chosen, others, strict=True)]


def _worth_timing(ladder: Sequence[Unit]) -> list[Unit]:
    chosen: list[Unit] = []
    for unit in ladder[:_MOST_UNITS]:
        if sum(each.noise for each in chosen) > _MOST_NOISE:
            break
        chosen.append(unit)
    return chosen


def sets_within(prices: Sequence[Priced], slowdowns: Sequence[float]) -> list[tuple[str, ...]]:
    """Growing sets of tensors to keep in float.

    Args:
        prices: What each unit costs.
        slowdowns: Percent that each set may cost together, rising.

    Returns:
        For each slowdown the tensors that bring most noise for their cost, as long as their costs add up to no more;
        sets that add nothing to the one before are left out.
    """
    ladder = sorted(prices, key=lambda unit: -unit.noise / max(unit.slowdown, _RESOLUTION))
    sets: list[tuple[str, ...]] = []
    for allowed in slowdowns:
        points: list[str] = []
        spent = 0.0
        for unit in ladder:
            if spent + max(unit.slowdown, _RESOLUTION) <= allowed:
                spent += max(unit.slowdown, _RESOLUTION)
                points += unit.points
        if points and (not sets or len(points) > len(sets[-1])):
            sets.append(tuple(points))
    return sets


def milliseconds(files: Sequence[bytes], like: Candidate) -> list[float]:
    """Median inference of bare models in one interleaved run, one thread.

    Args:
        files: Conversions of one network, without cards.
        like: Its card is put on all of them.
    """
    with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
        paths = [Path(folder) / f"{at}.tflite" for at in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(pack(data, like.card))
        return [float(row["inference_ms"]["median"]) for row in bench(paths, [1], _RUNS)]
