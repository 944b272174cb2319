"""Pruning by whole residual blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from convert.forward import run_network
from convert.progress import Progress
from convert.prune.blocks import Block, Layout, find_blocks, layout, shortened, stand_ins
from convert.prune.graph import channel_graph
from convert.prune.measure import Scales
from convert.prune.parts import Costs, Doubles, Ids, Keep, Looks
from convert.prune.plan import PrunePlan
from convert.prune.rank import Gate, spreads
from convert.prune.rules import MAKERS
from convert.prune.sensitivity import change
from convert.prune.work import work
from convert.quantize.graph import inputs_of
from convert.train.qat_network import copy_weights
from runtime.errors import InputError

_PICTURES = 32


class Blocks:
    """A whole network's residual blocks.

    Where convolutions are left in a row, they become one: if that has fewer multiply-accumulates, or where time is the
    target, if the clock says so.

    Args:
        whole: The network before any pruning; it is not changed. Without batch normalisation, each layer applied once.
        clock: Times files; ``None`` where time is not the target.

    Raises:
        InputError: It has none that can leave.
    """

    def __init__(self, whole: keras.Model, clock: Scales | None) -> None:
        self.blocks = find_blocks(whole)
        if not self.blocks:
            raise InputError(
                f"{whole.name} has no residual block that could leave",
                "expected a branch that is added to what passes it by",
                "prune its channels: leave out --remove blocks",
            )
        self._whole, self._clock = whole, clock
        self._faster: dict[tuple[str, str], bool] = {}
        self._layouts: dict[bytes, Layout] = {}
        graph = channel_graph(whole)
        terms, everything = work(graph), np.ones(graph.classes, np.bool_)
        macs: dict[str, float] = {}
        for term in terms.terms:
            alone = type(terms)((term,), terms.classes)
            macs[term.layer] = macs.get(term.layer, 0.0) + alone.macs(everything)
        self._macs = macs
        self.work: Costs = _Costs(self, macs, self._product)

    @property
    def name(self) -> str:
        """Of the network."""
        return str(self._whole.name)

    @property
    def everything(self) -> Keep:
        """All blocks."""
        return np.ones(len(self.blocks), np.bool_)

    def timed(self, ms: Mapping[str, float]) -> Costs:
        """What they cost in time, as far as it was measured; a convolution that took in another takes its own time."""
        scale = sum(self._macs.values()) / max(sum(ms.values()), 1e-30)
        return _Costs(self, {name: each * scale for name, each in ms.items()}, None) if ms else self.work

    def judge(self, model: keras.Model, keep: Keep, plan: PrunePlan, seed: int, looks: Looks | None) -> Doubles:
        """How much the outputs change, relative to their spread, without each block that is left.

        Raises:
            InputError: No pictures.
        """
        if looks is None:
            raise InputError("blocks without pictures", "expected some to judge them by", "add --data DIR")
        own = self._own(model)
        samples = looks.samples[:_PICTURES]
        where = None if looks.where is None else [each[: len(samples), ..., None] for each in looks.where]
        gated, gates = _gated(model, list(own.values()))
        before = run_network(gated, samples)
        scores, progress, spread = np.full(len(self.blocks), -1.0), Progress("judging blocks"), spreads(before)
        for done, (index, block) in enumerate(own.items()):
            if keep[index]:
                gate = gates[block.branch, block.total].factor
                gate.assign(np.zeros(gate.shape))
                scores[index] = change(before, run_network(gated, samples), spread, where)
                gate.assign(np.ones(gate.shape))
            progress(done + 1, len(own))
        return scores

    def choose(self, scores: Doubles, enough: Callable[[Keep], bool], costs: Costs, plan: PrunePlan) -> Keep:
        """What is left when the blocks that matter least for their price have gone.

        Blocks are large: the last to go may do alone what several before it did. Those come back, the dearest first.
        """
        keep = scores >= 0
        gone: list[int] = []
        while keep.any() and not enough(keep):
            value = np.where(keep, scores / np.maximum(costs.prices(keep), 1e-30), np.inf)
            gone.append(int(np.argmin(value)))
            keep[gone[-1]] = False
        if enough(keep):
            for index in sorted(gone, key=lambda each: -scores[each]):
                keep[index] = True
                keep[index] = enough(keep)
        return np.asarray(keep)

    def share(self, before: Keep, ratio: float, scores: Doubles, plan: PrunePlan) -> Keep:
        """Blocks have different numbers of channels.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "--remove blocks with --ratio", "blocks are no share of the channels", "give --macs, --size or --speedup"
        )

    def shrink(self, model: keras.Model, before: Keep, after: Keep) -> keras.Model:
        """Removes blocks from a network that has lost some already."""
        gone = [block for index, block in self._own(model).items() if before[index] and not after[index]]
        while True:
            what = layout(model, gone, self._worth)
            doubted = [pair for pair in what.merged.items() if not self._sure(*pair)]
            if not doubted:
                return shortened(model, what)
            behind, front = doubted[0]
            self._faster[front, behind] = self._time_both(model, gone, front, behind)

    def channels(self, keep: Keep) -> dict[str, Ids]:
        """Layers that are left have all their channels."""
        return {layer.name: np.arange(layer.output.shape[-1] or 1) for layer in self._whole.layers}

    def stands(self, keep: Keep) -> dict[str, str]:
        """What passed a block by takes the place of its sum, unless it is needed for what it was as well."""
        gone = [block for block, stays in zip(self.blocks, keep, strict=True) if not stays]
        return stand_ins(self._whole, gone)

    def removed(self, keep: Keep) -> float:
        """Share of the channels that made something and are gone, 0..1."""
        rows = self.table(keep)
        return 1 - sum(now for *_, now in rows) / sum(was for _, was, _ in rows)

    def table(self, keep: Keep) -> list[tuple[str, int, int]]:
        """Name, channels before and channels left of each layer that makes some."""
        left = self.layout(keep).reads
        rows = [(layer.name, layer.output.shape[-1]) for layer in self._whole.layers if isinstance(layer, MAKERS)]
        return [(name, was, was if name in left else 0) for name, was in rows]

    def floor(self, plan: PrunePlan) -> tuple[str, str]:
        """Why there is nothing smaller, and what to do for it."""
        return f"all {len(self.blocks)} residual blocks are gone then", "ask for more, or prune channels"

    def unmoved(self) -> list[str]:
        """Nothing is said of layers outside of blocks."""
        return []

    def layout(self, keep: Keep) -> Layout:
        """The whole network without some blocks; with all of them nothing is merged either."""
        key = np.packbits(keep).tobytes()
        if key not in self._layouts:
            gone = [block for block, stays in zip(self.blocks, keep, strict=True) if not stays]
            self._layouts[key] = layout(self._whole, gone, self._worth if gone else None)
        return self._layouts[key]

    def _own(self, model: keras.Model) -> dict[int, Block]:
        """Blocks a smaller network has left, by their place in the whole one."""
        places = {(block.total, block.branch): index for index, block in enumerate(self.blocks)}
        found = {places.get((block.total, block.branch)): block for block in find_blocks(model)}
        return {index: block for index, block in found.items() if index is not None}

    def _product(self, front: str, behind: str) -> float:
        """Multiply-accumulates of one convolution for two."""
        widths = [int(self._whole.get_layer(name).filters) for name in (front, behind)]
        return self._macs[front] / widths[0] * widths[1]

    def _worth(self, front: str, behind: str) -> bool:
        if self._product(front, behind) <= self._macs[front] + self._macs[behind]:
            return True
        return self._clock is not None and self._faster.get((front, behind), True)

    def _sure(self, behind: str, front: str) -> bool:
        fewer = self._product(front, behind) <= self._macs[front] + self._macs[behind]
        return fewer or (front, behind) in self._faster

    def _time_both(self, model: keras.Model, gone: list[Block], front: str, behind: str) -> bool:
        """Whether one convolution takes less time than two."""
        assert self._clock is not None
        self._layouts.clear()

        def apart(one: str, other: str) -> bool:
            return (one, other) != (front, behind) and self._worth(one, other)

        both = [shortened(model, layout(model, gone, worth)) for worth in (self._worth, apart)]
        return self._clock.quicker(both[0], both[1])


@dataclass(frozen=True)
class _Costs:
    """Costs of a network's layers, by the blocks that are left.

    Attributes:
        parts: The blocks.
        layers: What each layer costs; nothing where it is not named.
        product: What a convolution costs that took in another, by their names; its own without.
    """

    parts: Blocks
    layers: Mapping[str, float]
    product: Callable[[str, str], float] | None

    def macs(self, keep: Keep) -> float:
        """The sum."""
        what = self.parts.layout(keep)
        total = sum(self.layers.get(name, 0.0) for name in what.reads)
        if self.product:
            total += sum(self.product(front, name) - self.layers[name] for name, front in what.merged.items())
        return total

    def prices(self, keep: Keep) -> Doubles:
        """``(blocks,)``, what each block that is left would save if it alone left."""
        now, prices = self.macs(keep), np.zeros(len(keep))
        for index in np.flatnonzero(keep):
            without = keep.copy()
            without[index] = False
            prices[index] = now - self.macs(without)
        return prices


def _gated(model: keras.Model, blocks: list[Block]) -> tuple[keras.Model, dict[tuple[str, str], Gate]]:
    """A copy of a network with a gate at the end of each branch, by branch and sum."""
    gates: dict[tuple[str, str], Gate] = {}
    ends = {(block.branch, block.total) for block in blocks}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(layer, keras.layers.Add):
            return layer(*args, **kwargs)
        given = list(args[0])
        for index, name in enumerate(inputs_of(model.get_layer(layer.name))):
            if (name, layer.name) in ends:
                gate = gates[name, layer.name] = Gate(name=f"gate_{name}_{layer.name}")
                given[index] = gate(given[index])
        return layer(given, *args[1:], **kwargs)

    def copied(layer: Any) -> Any:
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(model, call_function=call, clone_function=copied)
    copy_weights(model, copy)
    return copy, gates
