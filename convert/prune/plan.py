"""What a pruning is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

Goal = Literal["ratio", "macs", "size", "latency", "speedup"]
GOALS: tuple[Goal, ...] = get_args(Goal)
# Those that a clock decides.
TIMED: tuple[Goal, ...] = ("latency", "speedup")
Scope = Literal["global", "layer"]
Remove = Literal["channels", "blocks"]
REMOVES: tuple[Remove, ...] = get_args(Remove)
Rank = Literal["l1", "l2", "activation", "apoz", "taylor", "random"]
RANKS: tuple[Rank, ...] = get_args(Rank)
# Those that look at pictures.
NEED_PICTURES: tuple[Rank, ...] = ("activation", "apoz", "taylor")

# A time is met when it is this close.
TIME_TOLERANCE = 0.10


@dataclass(frozen=True)
class Target:
    """Where a pruning ends.

    Attributes:
        goal: ``ratio`` (share of the channels that goes, 0..1), ``macs`` (multiply-accumulates left), ``size`` (bytes
            of the int8 model file), ``latency`` (milliseconds of an int8 inference) or ``speedup`` (how many times as
            fast as the whole network's).
        value: In that unit.
    """

    goal: Goal
    value: float

    def __str__(self) -> str:
        units = {
            "ratio": "{:g} of the channels",
            "macs": "{:.6g} MACs",
            "size": "{:.0f} bytes",
            "latency": "{:g} ms",
            "speedup": "{:g} times as fast",
        }
        return units[self.goal].format(self.value)


def given_targets(options: object) -> tuple[Target, ...]:
    """The targets that have a value.

    Args:
        options: Has an attribute for each goal, ``None`` where it is not given: a recipe's section, a command line.
    """
    values = {goal: getattr(options, goal) for goal in GOALS}
    return tuple(Target(goal, value) for goal, value in values.items() if value is not None)


@dataclass(frozen=True)
class PruneSettings:
    """The way to a target.

    Attributes:
        remove: ``channels``, or whole residual ``blocks``.
        rank: How channels are judged.
        scope: Whether channels of all layers compete, or each layer gives its share.
        multiple: What is left of a layer is a multiple of this, or everything.
        rounds: In how many steps.
        train_steps: Training steps after each round.
        final_steps: Training steps after the last round, instead.
        learning_rate: The highest of each training.
        distil: Weight of the whole network's answers where there are labels too.
        seed: Of everything random.
    """

    remove: Remove = "channels"
    rank: Rank = "taylor"
    scope: Scope = "global"
    multiple: int = 8
    rounds: int = 4
    train_steps: int = 100
    final_steps: int = 300
    learning_rate: float = 3e-4
    distil: float = 1.0
    seed: int = 1


@dataclass(frozen=True)
class PrunePlan(PruneSettings):
    """How a network is pruned: rank, remove, fit, train, and again.

    Attributes:
        target: Where it ends.
    """

    target: Target = field(kw_only=True)


@dataclass(frozen=True)
class PruneRecipe(PruneSettings):
    """The ``[prune]`` section of a recipe: exactly one target, and how it is reached.

    Attributes:
        ratio, macs, size, latency, speedup: See :class:`Target`.
        weights: The pruned network's weights beside the recipe, an ``.npz`` that ``python -m convert prune`` wrote;
            with it nothing is pruned again.
    """

    ratio: float | None = None
    macs: float | None = None
    size: float | None = None
    latency: float | None = None
    speedup: float | None = None
    weights: str = ""

    @property
    def targets(self) -> tuple[Target, ...]:
        """Those that are given."""
        return given_targets(self)

    def plan(self) -> PrunePlan:
        """What is asked for."""
        shared = {each.name: getattr(self, each.name) for each in fields(PruneSettings)}
        return PrunePlan(**shared, target=self.targets[0])
