"""What a network is taken apart into: channels, or whole blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.plan import PrunePlan

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Keep = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Looks:
    """What parts are judged by.

    Attributes:
        samples: ``(n, ..)`` inputs.
        where: Where each output matters in each; everywhere alike without.
    """

    samples: Floats
    where: Sequence[Floats] | None


class Costs(Protocol):
    """What a network costs, by the parts that are left."""

    def macs(self, keep: Keep) -> float:
        """Multiply-accumulates, or milliseconds on their scale."""
        ...

    def prices(self, keep: Keep) -> Doubles:
        """``(parts,)``, what each part that is left would save if it alone left."""
        ...


class Parts(Protocol):
    """The parts of a whole network, and what becomes of it without some of them."""

    @property
    def name(self) -> str:
        """Of the network."""
        ...

    @property
    def work(self) -> Costs:
        """What they cost in multiply-accumulates."""
        ...

    @property
    def everything(self) -> Keep:
        """All parts."""
        ...

    def timed(self, ms: Mapping[str, float]) -> Costs:
        """What they cost in time, on the scale of the multiply-accumulates, from milliseconds by layer."""
        ...

    def judge(self, model: keras.Model, keep: Keep, plan: PrunePlan, seed: int, looks: Looks | None) -> Doubles:
        """``(parts,)``, how much each matters in a network as it is; what has left is below 0.

        Args:
            model: The network.
            keep: What it has left.
            plan: How parts are judged.
            seed: Of everything random.
            looks: Pictures; ``None`` without.
        """
        ...

    def choose(self, scores: Doubles, enough: Callable[[Keep], bool], costs: Costs, plan: PrunePlan) -> Keep:
        """What is left when the parts that matter least for their price have gone, until it is enough."""
        ...

    def share(self, before: Keep, ratio: float, scores: Doubles, plan: PrunePlan) -> Keep:
        """What is left of the parts there were when a share of the channels is gone.

        Raises:
            InputError: It would leave a layer without channels, or parts are no channels.
        """
        ...

    def shrink(self, model: keras.Model, before: Keep, after: Keep) -> keras.Model:
        """Removes parts from a network that has lost some already; the given one is not changed."""
        ...

    def channels(self, keep: Keep) -> dict[str, Ids]:
        """By layer name, which channels of the whole network's result are left."""
        ...

    def stands(self, keep: Keep) -> dict[str, str]:
        """By layer name, the whole network's layer whose result it is to give, where that is another."""
        ...

    def removed(self, keep: Keep) -> float:
        """Share of the channels that made something and are gone, 0..1."""
        ...

    def table(self, keep: Keep) -> list[tuple[str, int, int]]:
        """Name, channels before and channels left of each layer that makes some."""
        ...

    def floor(self, plan: PrunePlan) -> tuple[str, str]:
        """Why there is nothing smaller, and what to do for it."""
        ...

    def unmoved(self) -> list[str]:
        """A line for each layer that had to stay, with the reason."""
        ...
