"""Prune, train, repeat: down to a target in small steps, each of which can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import keras
import numpy as np
import numpy.typing as npt

from convert.budget import exceeds
from convert.prune.aim import Aim
from convert.prune.lineage import Lineage
from convert.prune.measure import Scales
from convert.prune.parts import Keep, Looks, Parts
from convert.prune.plan import TIMED, PrunePlan
from convert.prune.shallow import Blocks
from convert.prune.state import Point, State, Store
from runtime.errors import BudgetError, InputError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Say = Callable[[str], None]

# How often a time is taken that misses a target its shape had met.
_DOUBTS = 3
# Pictures a ranking looks at.
_RANK_PICTURES = 64


class Tuner(Protocol):
    """Makes a pruned network good again."""

    def tune(
        self, model: keras.Model, channels: Mapping[str, npt.NDArray[np.int64]], steps: int, stands: Mapping[str, str]
    ) -> keras.Model:
        """Fits and trains.

        Args:
            model: The pruned network.
            channels: By layer name, which channels of the whole network it has left.
            steps: Training steps.
            stands: By layer name, the whole network's layer whose result it is to give, where that is another.
        """
        ...


@dataclass(frozen=True)
class Job:
    """One pruning.

    Attributes:
        whole: The network before.
        plan: What is asked for.
        tuner: Trains between the rounds.
        measure: Accuracy in percent by name of a network; nothing where there is nothing to measure on.
        samples: ``(n, ..)`` inputs for the rankings that need pictures; ``None`` without.
        relevance: Where each output matters in each sample, for ``taylor``.
        scales: Weigh and time files; ``None`` for networks that have none.
        store: Keeps every round.
        say: Takes progress messages.
        max_drop: Points of AP50 that may be lost; the round that loses more is taken back.
        gains: What a folded normalisation multiplied weights by, by layer.
    """

    whole: keras.Model
    plan: PrunePlan
    tuner: Tuner
    measure: Callable[[keras.Model], dict[str, float]]
    samples: Floats | None
    relevance: tuple[Floats, ...] | None
    scales: Scales | None
    store: Store
    say: Say
    max_drop: float | None = None
    gains: Mapping[str, Doubles] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        model: The pruned network.
        keep: Which parts of the whole network it has left.
        parts: The whole network's channels, or blocks.
        points: The whole network, then every round, those taken back included.
        stopped: Why the target was not reached; empty when it was.
    """

    model: keras.Model
    keep: Keep
    parts: Parts
    points: tuple[Point, ...]
    stopped: str = ""


def prune(job: Job) -> Outcome:
    """Prunes a network, or goes on where a killed pruning stopped.

    Raises:
        BudgetError: The target cannot be met, or the first round already loses too much; the message has the closest
            point.
        InputError: A ratio that would empty a layer, a target the network meets already, a ranking without pictures.
        RunError: Training or conversion failed.
    """
    run = _Run(job)
    run.begin()
    # A pruning that was stopped stays stopped when it is asked for again.
    if run.over_budget():
        return run.taken_back()
    for number in range(len(run.state.points), job.plan.rounds + 1):
        run.round(number)
        if run.over_budget():
            return run.taken_back()
    return run.outcome()


class _Run:
    """A pruning under way."""

    def __init__(self, job: Job) -> None:
        self.job, self.plan = job, job.plan
        self.parts = _parts(job)
        self._first: Doubles | None = None
        self.aim = Aim(job.plan, self.parts, job.scales)
        everything = self.parts.everything
        self.state = job.store.load() or State(job.whole, everything, ())
        if not len(self.state.keep):
            self.state = State(job.whole, everything, self.state.points)
        if len(self.state.keep) != len(everything):
            raise InputError("the rounds kept are of another network", "", "give --fresh to start over")

    def begin(self) -> None:
        """Checks the target and measures the whole network."""
        self.aim.check()
        self.level = self._level()
        if not self.state.points:
            self.job.say("measuring the whole network")
            whole = self.job.whole
            point = self._point(0, whole, self.parts.everything, self._time(whole))
            self._keep(State(self.job.whole, self.parts.everything, (point,)))
        if self.job.max_drop is not None and self.state.points[0].map50 == 0:
            raise InputError(
                "the whole network has AP50 0 on the images it is measured on",
                "a budget needs images it finds something right in",
                "check --test, --labels and --resize",
            )

    def round(self, number: int) -> None:
        """Removes, fits, trains and measures once."""
        state, plan = self.state, self.plan
        model, keep = self._removed(number)
        left = self.aim.work.macs(keep) / self.aim.full
        self.job.say(f"round {number} of {plan.rounds}: {left:.0%} of the work left; fitting and training")
        steps = plan.final_steps if number == plan.rounds else plan.train_steps
        model = self.job.tuner.tune(model, self.parts.channels(keep), steps, self.parts.stands(keep))
        point = self._point(number, model, keep, self._settled(model) if number == plan.rounds else self._time(model))
        self.job.say(f"round {number}: {point.text()}")
        self._keep(State(model, keep, (*state.points, point)))

    def over_budget(self) -> bool:
        """Whether the last round lost more than it may."""
        first, last = self.state.points[0], self.state.points[-1]
        if self.job.max_drop is None or first.map50 is None or last.map50 is None:
            return False
        return exceeds(first.map50 - last.map50, self.job.max_drop)

    def taken_back(self) -> Outcome:
        """The network before the last round.

        Raises:
            BudgetError: There was no round before it.
        """
        last = self.state.points[-1]
        text = f"round {last.round} lost {(self.state.points[0].map50 or 0) - (last.map50 or 0):.1f} points of AP50"
        if last.round == 1:
            raise BudgetError(
                f"{text} at {last.macs / self.aim.full:.0%} of the work",
                f"a budget of {self.job.max_drop:g}",
                "give more --rounds or --train-steps, or a larger --max-drop",
            )
        before = self.job.store.load(last.round - 1)
        assert before is not None
        return Outcome(
            before.model,
            before.keep,
            self.parts,
            self.state.points,
            f"{text}, more than {self.job.max_drop:g}: taken back",
        )

    def outcome(self) -> Outcome:
        """The network after the last round.

        Raises:
            BudgetError: It takes another time now than when its shape was found.
        """
        last = self.state.points[-1]
        if self.plan.target.goal in TIMED:
            found = self.aim.of_times(last.ms or 0.0, last.whole_ms or 1.0)
            if not self.aim.met(found):
                raise self.aim.missed(found)
        return Outcome(self.state.model, self.state.keep, self.parts, self.state.points)

    def _removed(self, number: int) -> tuple[keras.Model, Keep]:
        """What is left after the removals of a round, not yet trained."""
        state, goal = self.state, self.plan.target.goal
        scores = self._scores(state.model, state.keep)

        def build(keep: Keep) -> keras.Model:
            return self.parts.shrink(state.model, state.keep, keep)

        if goal == "ratio":
            keep = self.aim.share(state.keep, number, scores)
            return build(keep), keep
        level = self.aim.full * (self.level / self.aim.full) ** (number / self.plan.rounds)
        if goal in ("size", *TIMED) and number == self.plan.rounds:
            return self.aim.corrected(scores, level, self.aim.work.macs(state.keep), build)
        keep = self.aim.until(scores, level)
        return build(keep), keep

    def _level(self) -> float:
        """Work that the target stands for."""
        target, whole = self.plan.target, self.job.whole
        if target.goal in ("ratio", "macs"):
            return self.aim.full if target.goal == "ratio" else target.value
        if self.state.points:
            return self.state.points[0].level
        self.job.say(f"looking for a shape of {target}")
        everything = self.parts.everything
        scores = self._scores(whole, everything)
        return self.aim.level(whole, scores, lambda keep: self.parts.shrink(whole, everything, keep))

    def _scores(self, model: keras.Model, keep: Keep) -> Doubles:
        """What each part of the whole network matters, judged in the network as it is."""
        if model is self.job.whole and self._first is not None:
            return self._first
        looks = None
        if self.job.samples is not None:
            where = self.job.relevance and [each[:_RANK_PICTURES] for each in self.job.relevance]
            looks = Looks(self.job.samples[:_RANK_PICTURES], where)
        rounds = self.state.points[-1].round if self.state.points else 0
        scores = self.parts.judge(model, keep, self.plan, self.plan.seed * 1000 + rounds, looks)
        if model is self.job.whole:
            # The shape that is looked for before the first round is judged by the same scores as the round itself.
            self._first = scores
        return scores

    def _time(self, model: keras.Model) -> tuple[float, float]:
        return self.job.scales.time(model) if self.job.scales else (0.0, 0.0)

    def _settled(self, model: keras.Model) -> tuple[float, float]:
        """The time of the last round's network; one that misses its target is doubted before it is believed."""
        for _ in range(_DOUBTS):
            found = self._time(model)
            if self.plan.target.goal not in TIMED or self.aim.met(self.aim.of_times(*found)):
                break
        return found

    def _point(self, number: int, model: keras.Model, keep: Keep, ms: tuple[float, float]) -> Point:
        measured = self.job.measure(model)
        scales = self.job.scales
        return Point(
            number,
            self.parts.work.macs(keep),
            self.parts.removed(keep),
            self.level,
            scales.size(model) if scales else None,
            ms[0] if scales else None,
            ms[1] if scales else None,
            measured.get("map50"),
            measured.get("map50_95"),
            measured.get("agreement"),
        )

    def _keep(self, state: State) -> None:
        self.state = state
        self.job.store.save(state)


def _parts(job: Job) -> Parts:
    if job.plan.remove == "blocks":
        return Blocks(job.whole, job.scales if job.plan.target.goal in TIMED else None)
    return Lineage(job.whole, job.gains)
