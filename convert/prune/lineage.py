"""A network on its way down, told in the channels of the whole one."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.forest import Ids
from convert.prune.graph import ChannelGraph, Keep, channel_graph
from convert.prune.surgery import remove
from convert.prune.work import Work, work

Doubles = npt.NDArray[np.float64]


class Lineage:
    """The whole network's channels, and which of them are left.

    Args:
        whole: The network before any pruning; it is not changed.

    Attributes:
        graph: Its channels.
        work: What they cost.
    """

    def __init__(self, whole: keras.Model) -> None:
        self.graph: ChannelGraph = channel_graph(whole)
        self.work: Work = work(self.graph)

    @property
    def everything(self) -> Keep:
        """All classes."""
        return np.ones(self.graph.classes, np.bool_)

    def channels(self, keep: Keep) -> dict[str, Ids]:
        """By layer name, which channels of the whole network's result are left."""
        return {name: np.flatnonzero(keep[ids]) for name, ids in self.graph.makes.items()}

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
