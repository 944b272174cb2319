"""How much bundles matter beside each other, measured.

Rankings compare channels of one bundle well. Between bundles they mislead: half the channels of a first convolution
look cheap to first order and are not. So half of each bundle is made zero for once, and what that does to the outputs
says what the bundle's scores are worth (a sensitivity analysis, as in Li et al., arXiv:1608.08710, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from convert.forward import run_network
from convert.prune.choose import bundles
from convert.prune.graph import ChannelGraph
from convert.prune.rank import gate, spreads

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_PICTURES = 16


def weigh(
    graph: ChannelGraph,
    scores: Doubles,
    samples: Floats,
    weights: Sequence[Floats] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Doubles:
    """Scores of classes on one scale for all bundles.

    Args:
        graph: The network's channels.
        scores: ``(classes,)`` numbers of at least 0, comparable within a bundle.
        samples: ``(n, ..)`` inputs; the first sixteen are used.
        weights: Where each output matters, ``(n, rows, columns)`` per output.
        progress: Called with (done, total) bundles.

    Returns:
        The scores of each bundle times a factor, so that those of its less important half add up to the mean square
        change of the outputs (relative to their spread) when that half is zero.
    """
    samples = samples[:_PICTURES]
    here = None if weights is None else [each[: len(samples), ..., None] for each in weights]
    gated, gates = gate(graph.model)
    before = run_network(gated, samples)
    spread, free, result = spreads(before), graph.free(), scores.copy()
    groups = bundles(graph)
    for index, members in enumerate(groups):
        own = members[free[members]]
        half = own[np.argsort(scores[own], kind="stable")][: max(1, len(own) // 2)] if len(own) else own
        if len(half):
            gone = np.zeros(graph.classes, np.bool_)
            gone[half] = True
            touched = [(each, gone[graph.reads[name]]) for name, each in gates.items() if gone[graph.reads[name]].any()]
            for each, zero in touched:
                each.factor.assign(np.where(zero, 0.0, 1.0))
            moved = change(before, run_network(gated, samples), spread, here)
            for each, zero in touched:
                each.factor.assign(np.ones(len(zero)))
            result[members] *= moved / max(float(scores[half].sum()), 1e-30)
        if progress:
            progress(index + 1, len(groups))
    return result


def change(before: list[Floats], after: list[Floats], spread: list[float], here: list[Floats] | None) -> float:
    """Mean square change of outputs, relative to their spread, added over places (weighed by ``here``) and outputs."""
    total = 0.0
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        squares = np.square((new - old) / spread[index], dtype=np.float64)
        total += float((squares if here is None else squares * here[index]).sum())
    return total / len(before[0])
