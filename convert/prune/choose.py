"""Which channels leave, given how much each matters and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.prune.graph import ChannelGraph, Keep
from convert.prune.plan import Scope
from runtime.errors import InputError

Doubles = npt.NDArray[np.float64]
Prices = Callable[[Keep], Doubles]

# 40 * (1 - 0.8) is a little less than 8.
_ROUNDING = 1e-6


def remove_share(graph: ChannelGraph, scores: Doubles, ratio: float, scope: Scope, multiple: int = 8) -> Keep:
    """Removes a share of the channels that may go.

    Args:
        graph: The network's channels.
        scores: ``(classes,)``, the larger the more a class matters.
        ratio: Share of the channels, above 0 and below 1: of each bundle with ``layer``, of all together with
            ``global``.
        scope: See ``ratio``.
        multiple: What is left of a bundle is a multiple of this, or everything.

    Returns:
        ``(classes,)``, what stays.

    Raises:
        InputError: The ratio would leave a layer without channels.
    """
    check_ratio(ratio)
    keep = np.ones(graph.classes, np.bool_)
    free = graph.free()
    if scope == "global":
        wanted = free.sum() * (1 - ratio) + _ROUNDING
        least = remove_until(graph, scores, lambda _: False, None, scope, multiple)
        floor = int((least & free).sum())
        if wanted < floor:
            raise InputError(
                f"ratio {ratio:g} would empty layers of {graph.model.name}",
                f"expected at most {_percent(1 - floor / free.sum())}: "
                f"every layer keeps {multiple} channels or all it has",
                "give a smaller --ratio, or a smaller --multiple",
            )
        return remove_until(graph, scores, lambda k: bool((k & free).sum() <= wanted), None, scope, multiple)
    movable = _movable(graph, scores)
    for members in bundles(graph):
        own, going = members[free[members]], members[movable[members]]
        left, frozen = len(own) * (1 - ratio), len(members) - len(own)
        if round(left) < 1 < len(own) and not frozen:
            raise InputError(
                f"ratio {ratio:g} would empty {_maker(graph, members)}, which has {len(own)} channels",
                f"expected at most {_percent(1 - 1 / len(own))}",
                "give a smaller --ratio, or --scope global",
            )
        count = len(own) - min(len(own), _upwards(left + frozen, multiple) - frozen)
        count -= _upwards(max(0, count - len(going)), multiple)
        keep[going[np.argsort(scores[going], kind="stable")[: max(0, count)]]] = False
    return keep


def remove_until(
    graph: ChannelGraph,
    scores: Doubles,
    enough: Callable[[Keep], bool],
    prices: Prices | None,
    scope: Scope = "global",
    multiple: int = 8,
) -> Keep:
    """Removes channels until it is enough or nothing is left to go.

    Args:
        graph: The network's channels.
        scores: ``(classes,)``, the larger the more a class matters.
        enough: Called with what stays, after each removal.
        prices: From what stays to what each class costs now; without, all cost the same.
        scope: ``global`` takes next what matters least for its price; ``layer`` takes from the bundle that has the
            largest share of its channels left.
        multiple: What is left of a bundle is a multiple of this, or everything.
    """
    keep, movable = np.ones(graph.classes, np.bool_), _movable(graph, scores)
    queues = [_Queue.of(members, movable, scores) for members in bundles(graph)]
    while not enough(keep):
        now = prices(keep) if prices else np.ones(graph.classes)
        best, chosen = np.inf, None
        for queue in queues:
            if not len(chunk := queue.next(multiple)):
                continue
            if scope == "global":
                value = scores[chunk].sum() / max(now[chunk].sum(), 1e-30)
            else:
                value = len(chunk) / queue.size - queue.left / queue.size
            if value < best:
                best, chosen = value, queue
        if chosen is None:
            break
        keep[chosen.take(multiple)] = False
    return keep


@dataclass
class _Queue:
    """A bundle's channels, those that leave first in front.

    Attributes:
        waiting: Classes that may go.
        left: How many classes it has left.
        size: How many it had.
    """

    waiting: npt.NDArray[np.int64]
    left: int
    size: int

    @classmethod
    def of(cls, members: npt.NDArray[np.int64], movable: Keep, scores: Doubles) -> _Queue:
        own = members[movable[members]]
        return cls(own[np.argsort(scores[own], kind="stable")], len(members), len(members))

    def next(self, multiple: int) -> npt.NDArray[np.int64]:
        """What leaves next: down to the next multiple; nothing where none would be left."""
        count = self.left % multiple or multiple
        stays = self.left - count
        return self.waiting[: count if count <= len(self.waiting) and stays >= min(multiple, self.size) else 0]

    def take(self, multiple: int) -> npt.NDArray[np.int64]:
        chunk = self.next(multiple)
        self.waiting, self.left = self.waiting[len(chunk) :], self.left - len(chunk)
        return chunk


def check_ratio(ratio: float) -> None:
    """Refuses what is no share.

    Raises:
        InputError: Not above 0 and below 1.
    """
    if not 0 < ratio < 1:
        raise InputError(f"ratio {ratio:g}", "expected a share of the channels above 0 and below 1, such as 0.3")


def bundles(graph: ChannelGraph) -> list[npt.NDArray[np.int64]]:
    """Classes of each bundle."""
    order = np.argsort(graph.bundle, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(graph.bundle[order])) + 1)


def _movable(graph: ChannelGraph, scores: Doubles) -> Keep:
    """Classes that may go, but for the one that matters most in each layer: a bundle may hold layers side by side."""
    free = graph.free()
    movable = free.copy()
    for _, made in graph.makers():
        if free[made].all():
            movable[made[np.argmax(scores[made])]] = False
    return movable


def _percent(share: float) -> str:
    """A share in two digits, never more than it is."""
    return f"{np.floor(100 * share + _ROUNDING) / 100:g}"


def _upwards(count: float, multiple: int) -> int:
    return int(np.ceil(count / multiple - _ROUNDING)) * multiple


def _maker(graph: ChannelGraph, members: npt.NDArray[np.int64]) -> str:
    known = set(members.tolist())
    names = [layer.name for layer, made in graph.makers() if known & set(made.tolist())]
    return names[0] if names else "a layer"
