"""A network on its way down, told in the channels of the whole one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import numpy.typing as npt

from convert.progress import Progress
from convert.prune.choose import remove_share, remove_until
from convert.prune.forest import Ids
from convert.prune.graph import ChannelGraph, Keep, channel_graph
from convert.prune.milliseconds import timed
from convert.prune.parts import Costs, Looks
from convert.prune.plan import NEED_PICTURES, PrunePlan
from convert.prune.rank import rank
from convert.prune.sensitivity import weigh
from convert.prune.surgery import remove
from convert.prune.work import Work, work
from runtime.errors import InputError

Doubles = npt.NDArray[np.float64]


class Lineage:
    """The whole network's channels, and which of them are left.

    Args:
        whole: The network before any pruning; it is not changed.
        gains: What a folded normalisation multiplied its weights by: ``(channels,)`` by layer.

    Attributes:
        graph: Its channels.
        work: What they cost.
    """

    def __init__(self, whole: keras.Model, gains: Mapping[str, Doubles] | None = None) -> None:
        self.graph: ChannelGraph = channel_graph(whole)
        self.work: Work = work(self.graph)
        self._gains = gains or {}

    @property
    def name(self) -> str:
        """Of the network."""
        return str(self.graph.model.name)

    @property
    def everything(self) -> Keep:
        """All classes."""
        return np.ones(self.graph.classes, np.bool_)

    def timed(self, ms: Mapping[str, float]) -> Work:
        """What they cost in time."""
        return timed(self.work, ms)

    def judge(self, model: keras.Model, keep: Keep, plan: PrunePlan, seed: int, looks: Looks | None) -> Doubles:
        """What each class of the whole network matters, judged in the network as it is.

        Raises:
            InputError: A ranking that needs pictures, and none.
        """
        if plan.rank in NEED_PICTURES and looks is None:
            raise InputError(
                f"ranking by {plan.rank} without pictures",
                "expected some to look at",
                "add --data DIR, or --rank l1",
            )
        graph = channel_graph(model)
        samples, where = (looks.samples, looks.where) if looks else (None, None)
        gains = {name: gain[keep[self.graph.makes[name]]] for name, gain in self._gains.items()}
        found = rank(graph, plan.rank, samples, where, seed, Progress("ranking channels"), gains)
        if samples is not None and plan.scope == "global":
            found = weigh(graph, found, samples, where, Progress("weighing layers"))
        return self.spread(keep, graph, found)

    def choose(self, scores: Doubles, enough: Callable[[Keep], bool], costs: Costs, plan: PrunePlan) -> Keep:
        """What is left when the channels that matter least for their price have gone."""
        return remove_until(self.graph, scores, enough, costs.prices, plan.scope, plan.multiple)

    def share(self, before: Keep, ratio: float, scores: Doubles, plan: PrunePlan) -> Keep:
        """What is left of the classes there were when a share of the channels is gone."""
        return np.asarray(before & remove_share(self.graph, scores, ratio, plan.scope, plan.multiple))

    def floor(self, plan: PrunePlan) -> tuple[str, str]:
        """Why there is nothing smaller, and what to do for it."""
        return f"every layer keeps {plan.multiple} channels", "ask for more, or give a smaller --multiple"

    def unmoved(self) -> list[str]:
        """Layers that had to stay as they are."""
        return [f"{name} keeps all its channels: {reason}" for name, reason in self.graph.kept_layers().items()]

    def channels(self, keep: Keep) -> dict[str, Ids]:
        """By layer name, which channels of the whole network's result are left."""
        return {name: np.flatnonzero(keep[ids]) for name, ids in self.graph.makes.items()}

    def stands(self, keep: Keep) -> dict[str, str]:
        """Every layer stays what it is."""
        return {}

    def spread(self, keep: Keep, smaller: ChannelGraph, scores: Doubles) -> Doubles:
        """Scores of a smaller network's classes as scores of the whole one's; what has left scores below all.

        Args:
            keep: What is left in the smaller network.
            smaller: Its channels.
            scores: ``(classes of smaller,)`` numbers of at least 0.
        """
        spread = np.full(self.graph.classes, -1.0)
        spread[keep] = 0.0
        for name, ids in smaller.makes.items():
            whole = self.graph.makes[name]
            spread[whole[keep[whole]]] = scores[ids]
        return spread

    def shrink(self, model: keras.Model, before: Keep, after: Keep) -> keras.Model:
        """Removes channels from a network that has lost some already.

        Args:
            model: The network; it is not changed.
            before: What it has left.
            after: What it is to have left.
        """
        smaller = channel_graph(model)
        keep = np.ones(smaller.classes, np.bool_)
        for name, ids in smaller.makes.items():
            whole = self.graph.makes[name]
            keep[ids] &= after[whole[before[whole]]]
        return remove(smaller, keep)

    def removed(self, keep: Keep) -> float:
        """Share of the channels that made something and are gone, 0..1."""
        made = np.concatenate([ids for _, ids in self.graph.makers()])
        return float(1 - keep[made].mean())

    def table(self, keep: Keep) -> list[tuple[str, int, int]]:
        """Name, channels before and channels left of each layer that makes some."""
        return [(layer.name, len(ids), int(keep[ids].sum())) for layer, ids in self.graph.makers()]
