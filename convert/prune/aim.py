"""Shapes that meet a target: which parts stay for so many MACs, bytes or milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.choose import check_ratio
from convert.prune.measure import Scales, bisect
from convert.prune.parts import Costs, Keep, Parts
from convert.prune.plan import TIME_TOLERANCE, TIMED, PrunePlan
from runtime.errors import BudgetError, InputError

Doubles = npt.NDArray[np.float64]
Build = Callable[[Keep], keras.Model]

# How often the last round's shape is corrected.
_CORRECTIONS = 6
# A file may be this much smaller than asked for.
_SIZE_TOLERANCE = 0.04
# A file's size is looked for to this precision.
_SIZE_SEARCH = 0.02


@dataclass(frozen=True)
class Aim:
    """A target and what shapes cost.

    Attributes:
        plan: What is asked for.
        parts: What the whole network is taken apart into.
        scales: Weigh and time files; ``None`` for networks that have none.
    """

    plan: PrunePlan
    parts: Parts
    scales: Scales | None

    @cached_property
    def work(self) -> Costs:
        """What parts cost: multiply-accumulates, weighed with the time of their layers where time is the target."""
        if self.plan.target.goal in TIMED and self.scales is not None:
            return self.parts.timed(self.scales.by_layer())
        return self.parts.work

    @property
    def full(self) -> float:
        """Work of the whole network, in multiply-accumulates."""
        return self.parts.work.macs(self.parts.everything)

    def check(self) -> None:
        """Refuses targets that no shape can meet, as far as that is seen without looking for one.

        Raises:
            BudgetError: Fewer multiply-accumulates than the smallest shape has.
            InputError: A ratio that would empty a layer, what the network meets already, or a file wanted of a network
                that has none.
        """
        target, alike = self.plan.target, np.ones(len(self.parts.everything))
        if target.goal == "ratio":
            check_ratio(target.value)
            self.share(self.parts.everything, self.plan.rounds, alike)
        elif target.goal == "macs":
            _less(target.value, self.full, "{:.4g} MACs")
            self.until(alike, target.value)
        elif target.goal == "speedup" and not target.value > 1:
            raise InputError(f"a speedup of {target.value:g}", "expected a number above 1, such as 1.5")
        elif self.scales is None:
            raise InputError(
                f"--{target.goal} for a network without known input and heads",
                "expected a detector this version can convert",
                "use --macs or --ratio",
            )

    def level(self, whole: keras.Model, scores: Doubles, build: Build) -> float:
        """Work that a size or a latency stands for, found by trying shapes.

        Args:
            whole: The whole network.
            scores: ``(parts,)``, what each part of it matters.
            build: From what stays to the network.

        Raises:
            BudgetError: No shape of the network meets it.
            InputError: The network meets it already.
        """
        target, scales = self.plan.target, self.scales
        assert scales is not None
        least = self.least(scores) / self.full

        known: dict[bytes, float] = {}

        def measured(share: float) -> float:
            keep = self._near(scores, share * self.full)
            # Parts leave in steps: different shares may be one shape.
            if (key := keep.tobytes()) not in known:
                known[key] = self._measured(build(keep))
            return known[key]

        size = target.goal == "size"
        if size:
            _less(target.value, scales.whole_size, "{:.0f} bytes")
        elif target.goal == "latency":
            _less(target.value, scales.time(whole)[1], "{:.3g} ms")
        # The last round's own shape is corrected; what is found here only has to be near.
        near = _SIZE_SEARCH if size else TIME_TOLERANCE / 2
        share, value = bisect(measured, self._wanted, least, 1.0, close=near)
        off = value / self._wanted - 1
        if off > _SIZE_SEARCH if size else abs(off) > TIME_TOLERANCE:
            raise self.missed(value)
        return share * self.full

    def corrected(self, scores: Doubles, level: float, most: float, build: Build) -> tuple[keras.Model, Keep]:
        """The last round's network, with as many channels as its own bytes or milliseconds allow.

        Args:
            scores: ``(parts,)``, what each part matters.
            level: Work to begin with.
            most: Work of the round before.
            build: From what stays to the network.

        Raises:
            BudgetError: The target is not met; the message has the closest point.
        """
        wanted, size = self._wanted, self.plan.target.goal == "size"
        # Sizes are an upper limit; milliseconds scatter, so they may be met from both sides.
        middle, close = (1 - _SIZE_TOLERANCE / 2, _SIZE_TOLERANCE / 2) if size else (1.0, TIME_TOLERANCE / 2)
        tries: list[tuple[tuple[bool, float], float, keras.Model, Keep]] = []
        for _ in range(_CORRECTIONS):
            keep = self._near(scores, level)
            model = build(keep)
            value = self._measured(model)
            off = abs(value / wanted - middle)
            tries.append(((not self.met(value), off), value, model, keep))
            if off <= close:
                break
            # From what the shape has: channels leave in steps, so it may have much less than it was given.
            level = min(level, self.work.macs(keep)) * middle * wanted / value
            level = min(level, most)
        _, value, model, keep = min(tries, key=lambda each: each[0])
        if not self.met(value):
            raise self.missed(value)
        return model, keep

    def until(self, scores: Doubles, level: float) -> Keep:
        """What stays for so much work.

        Raises:
            BudgetError: The smallest shape has more.
        """
        work = self.work
        keep = self.parts.choose(scores, lambda k: work.macs(k) <= level, work, self.plan)
        if work.macs(keep) > level * 1.001:
            why, what = self.parts.floor(self.plan)
            raise BudgetError(
                f"{work.macs(keep):.4g} MACs is the least {self.parts.name} can have",
                f"asked for {level:.4g}; {why}",
                what,
            )
        return keep

    def _near(self, scores: Doubles, level: float) -> Keep:
        """What stays for so much work, or the smallest shape; what that has may have changed since it was asked for."""
        return self.until(scores, max(level, self.least(scores)))

    def least(self, scores: Doubles) -> float:
        """Work of the smallest network there is."""
        return self.work.macs(self.parts.choose(scores, lambda _: False, self.work, self.plan))

    def share(self, before: Keep, number: int, scores: Doubles) -> Keep:
        """What is left after a round towards a ratio."""
        ratio = 1 - (1 - self.plan.target.value) ** (number / self.plan.rounds)
        return self.parts.share(before, ratio, scores, self.plan)

    def met(self, value: float) -> bool:
        """Whether so many bytes, milliseconds, or parts of the whole network's time are what was asked for."""
        if self.plan.target.goal == "size":
            return value <= self._wanted
        return abs(value / self._wanted - 1) <= TIME_TOLERANCE

    def missed(self, value: float) -> BudgetError:
        """The error for what came closest (see :meth:`met`) and is not close enough."""
        target, where = self.plan.target, self.scales.where if self.scales else ""
        if target.goal == "size":
            return BudgetError(
                f"the closest to {target} that was found is {value:.0f}",
                "expected a file of at most the size asked for",
                f"ask for --size {np.ceil(value / (1 - _SIZE_TOLERANCE)):.0f}",
            )
        closest = f"{value:.3g}" if target.goal == "latency" else f"{1 / value:.3g}"
        unit = " ms" if target.goal == "latency" else ""
        return BudgetError(
            f"the closest to {target} that was found is {closest}{unit} ({where})",
            f"expected a target met within {TIME_TOLERANCE:.0%}",
            f"ask for --{target.goal} {closest}",
        )

    def of_times(self, ms: float, whole_ms: float) -> float:
        """What :meth:`met` wants to know of times: milliseconds, or the part of the whole network's."""
        return ms / whole_ms if self.plan.target.goal == "speedup" else ms

    @property
    def _wanted(self) -> float:
        """Bytes, milliseconds, or the part of the whole network's time."""
        target = self.plan.target
        return 1 / target.value if target.goal == "speedup" else target.value

    def _measured(self, model: keras.Model) -> float:
        """The same of a network."""
        assert self.scales is not None
        if self.plan.target.goal == "size":
            return self.scales.size(model)
        return self.of_times(*self.scales.time(model))


def _less(wanted: float, have: float, unit: str) -> None:
    if not 0 < wanted < have:
        seen = f"a target of {unit.format(wanted)}"
        raise InputError(seen, f"expected less than the {unit.format(have)} the network has, and more than nothing")
