"""What a pruning is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Goal = Literal["ratio", "macs", "size", "latency"]
Scope = Literal["global", "layer"]
Rank = Literal["l1", "l2", "activation", "apoz", "taylor", "random"]
RANKS: tuple[Rank, ...] = get_args(Rank)
# Those that look at pictures.
NEED_PICTURES: tuple[Rank, ...] = ("activation", "apoz", "taylor")

# A latency is met when it is this close.
LATENCY_TOLERANCE = 0.10


@dataclass(frozen=True)
class Target:
    """Where a pruning ends.

    Attributes:
        goal: ``ratio`` (share of the channels that goes, 0..1), ``macs`` (multiply-accumulates left), ``size`` (bytes
            of the int8 model file) or ``latency`` (milliseconds of an int8 inference).
        value: In that unit.
    """

    goal: Goal
    value: float

    def __str__(self) -> str:
        units = {"ratio": "{:g} of the channels", "macs": "{:.6g} MACs", "size": "{:.0f} bytes", "latency": "{:g} ms"}
        return units[self.goal].format(self.value)


@dataclass(frozen=True)
class PrunePlan:
    """How a network is pruned: rank, remove, fit, train, and again.

    Attributes:
        target: Where it ends.
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

    target: Target
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
class PruneRecipe:
    """The ``[prune]`` section of a recipe: exactly one target, and how it is reached.

    Attributes:
        ratio, macs, size, latency: See :class:`Target`.
        weights: The pruned network's weights beside the recipe, an ``.npz`` that ``python -m convert prune`` wrote;
            with it nothing is pruned again.
        rank, scope, multiple, rounds, train_steps, final_steps, learning_rate, distil, seed: See :class:`PrunePlan`.
    """

    ratio: float | None = None
    macs: float | None = None
    size: float | None = None
    latency: float | None = None
    weights: str = ""
    rank: Rank = "taylor"
    scope: Scope = "global"
    multiple: int = 8
    rounds: int = 4
    train_steps: int = 100
    final_steps: int = 300
    learning_rate: float = 3e-4
    distil: float = 1.0
    seed: int = 1

    @property
    def targets(self) -> tuple[Target, ...]:
        """Those that are given."""
        goals: tuple[Goal, ...] = ("ratio", "macs", "size", "latency")
        values = {goal: getattr(self, goal) for goal in goals}
        return tuple(Target(goal, value) for goal, value in values.items() if value is not None)

    def plan(self) -> PrunePlan:
        """What is asked for."""
        shared = {name: getattr(self, name) for name in PrunePlan.__dataclass_fields__ if name != "target"}
        return PrunePlan(self.targets[0], **shared)
