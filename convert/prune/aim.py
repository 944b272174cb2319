"""Shapes that meet a target: which channels stay for so many MACs, bytes or milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.choose import check_ratio, remove_share, remove_until
from convert.prune.graph import Keep
from convert.prune.lineage import Lineage
from convert.prune.measure import Scales, bisect
from convert.prune.milliseconds import timed
from convert.prune.plan import LATENCY_TOLERANCE, PrunePlan
from convert.prune.work import Work
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
        lineage: The whole network's channels.
        scales: Weigh and time files; ``None`` for networks that have none.
    """

    plan: PrunePlan
    lineage: Lineage
    scales: Scales | None

    @cached_property
    def work(self) -> Work:
        """What channels cost: multiply-accumulates, weighed with the time of their layers where time is the target."""
        if self.plan.target.goal == "latency" and self.scales is not None:
            return timed(self.lineage.work, self.scales.by_layer())
        return self.lineage.work

    @property
    def full(self) -> float:
        """Work of the whole network, in multiply-accumulates."""
        return self.lineage.work.macs(self.lineage.everything)

    def check(self) -> None:
        """Refuses targets that no shape can meet, as far as that is seen without looking for one.

        Raises:
            BudgetError: Fewer multiply-accumulates than the smallest shape has.
            InputError: A ratio that would empty a layer, a number of multiply-accumulates the network has already, or
                a file wanted of a network that has none.
        """
        target, alike = self.plan.target, np.ones(self.lineage.graph.classes)
        if target.goal == "ratio":
            check_ratio(target.value)
            self.share(self.lineage.everything, self.plan.rounds, alike)
        elif target.goal == "macs":
            _less(target.value, self.full, "{:.4g} MACs")
            self.until(alike, target.value)
        elif self.scales is None:
            raise InputError(
                f"--{target.goal} for a network without known input and heads",
                "expected a detector this version can convert",
                "use --macs or --ratio",
            )

    def level(self, scores: Doubles, build: Build) -> float:
        """Work that a size or a latency stands for, found by trying shapes.

        Args:
            scores: ``(classes,)``, what each class of the whole network matters.
            build: From what stays to the network.

        Raises:
            BudgetError: No shape of the network meets it.
            InputError: The network meets it already.
        """
        target, scales = self.plan.target, self.scales
        assert scales is not None
        least = self.least(scores) / self.full

        def shaped(share: float) -> keras.Model:
            return build(self.until(scores, share * self.full))

        if target.goal == "size":
            _less(target.value, scales.whole_size, "{:.0f} bytes")
            share, size = bisect(lambda share: scales.size(shaped(share)), target.value, least, 1.0)
            if size > (1 + _SIZE_SEARCH) * target.value:
                raise self.missed(size)
            return share * self.full
        _less(target.value, scales.time(build(self.lineage.everything))[1], "{:.3g} ms")
        # The last round's own shape is corrected; what is found here only has to be near.
        near = LATENCY_TOLERANCE / 2
        share, ms = bisect(lambda share: scales.time(shaped(share))[0], target.value, least, 1.0, close=near)
        if abs(ms / target.value - 1) > LATENCY_TOLERANCE:
            raise self.missed(ms)
        return share * self.full

    def corrected(self, scores: Doubles, level: float, most: float, build: Build) -> tuple[keras.Model, Keep]:
        """The last round's network, with as many channels as its own bytes or milliseconds allow.

        Args:
            scores: ``(classes,)``, what each class matters.
            level: Work to begin with.
            most: Work of the round before.
            build: From what stays to the network.

        Raises:
            BudgetError: The target is not met; the message has the closest point.
        """
        wanted, size = self.plan.target.value, self.plan.target.goal == "size"
        # Sizes are an upper limit; milliseconds scatter, so they may be met from both sides.
        middle, close = (1 - _SIZE_TOLERANCE / 2, _SIZE_TOLERANCE / 2) if size else (1.0, LATENCY_TOLERANCE / 2)
        tries: list[tuple[tuple[bool, float], float, keras.Model, Keep]] = []
        for _ in range(_CORRECTIONS):
            keep = self.until(scores, level)
            model = build(keep)
            value = self._measured(model)
            off = abs(value / wanted - middle)
            tries.append(((not self.met(value), off), value, model, keep))
            if off <= close:
                break
            # From what the shape has: channels leave in steps, so it may have much less than it was given.
            level = min(level, self.work.macs(keep)) * middle * wanted / value
            level = max(self.least(scores), min(level, most))
        _, value, model, keep = min(tries, key=lambda each: each[0])
        if not self.met(value):
            raise self.missed(value)
        return model, keep

    def until(self, scores: Doubles, level: float) -> Keep:
        """What stays for so much work.

        Raises:
            BudgetError: The smallest shape has more.
        """
        work, plan = self.work, self.plan
        keep = remove_until(
            self.lineage.graph, scores, lambda k: work.macs(k) <= level, work.prices, plan.scope, plan.multiple
        )
        if work.macs(keep) > level * 1.001:
            raise BudgetError(
                f"{work.macs(keep):.4g} MACs is the least {self.lineage.graph.model.name} can have",
                f"asked for {level:.4g}; every layer keeps {plan.multiple} channels",
                "ask for more, or give a smaller --multiple",
            )
        return keep

    def least(self, scores: Doubles) -> float:
        """Work of the smallest network there is."""
        plan = self.plan
        keep = remove_until(self.lineage.graph, scores, lambda _: False, None, plan.scope, plan.multiple)
        return self.work.macs(keep)

    def share(self, before: Keep, number: int, scores: Doubles) -> Keep:
        """What is left after a round towards a ratio."""
        plan = self.plan
        ratio = 1 - (1 - plan.target.value) ** (number / plan.rounds)
        return before & remove_share(self.lineage.graph, scores, ratio, plan.scope, plan.multiple)

    def met(self, value: float) -> bool:
        """Whether so many bytes or milliseconds are what was asked for."""
        wanted = self.plan.target.value
        if self.plan.target.goal == "size":
            return value <= wanted
        return abs(value / wanted - 1) <= LATENCY_TOLERANCE

    def missed(self, value: float) -> BudgetError:
        """The error for a size or a latency that came closest and is not close enough."""
        wanted, where = self.plan.target.value, self.scales.where if self.scales else ""
        if self.plan.target.goal == "size":
            return BudgetError(
                f"the closest to {wanted:.0f} bytes that was found is {value:.0f}",
                "expected a file of at most the size asked for",
                f"ask for --size {np.ceil(value / (1 - _SIZE_TOLERANCE)):.0f}",
            )
        return BudgetError(
            f"the closest to {wanted:g} ms that was found is {value:.3g} ms ({where})",
            f"expected a target met within {LATENCY_TOLERANCE:.0%}",
            f"ask for --latency {value:.3g}",
        )

    def _measured(self, model: keras.Model) -> float:
        assert self.scales is not None
        return self.scales.size(model) if self.plan.target.goal == "size" else self.scales.time(model)[0]


def _less(wanted: float, have: float, unit: str) -> None:
    if not 0 < wanted < have:
        seen = f"a target of {unit.format(wanted)}"
        raise InputError(seen, f"expected less than the {unit.format(have)} the network has, and more than nothing")
