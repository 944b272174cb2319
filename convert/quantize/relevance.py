"""Where in a picture a detector's outputs matter: where it finds something.

Nearly all cells of a detector's heads are empty, and whether their logits are -9 or -8 changes nothing. Fits that
treat all places alike are fits of the empty ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from runtime.card import DecoderSpec, OutputBinding
from runtime.decode.candidates import sigmoid

Floats = npt.NDArray[np.float32]


def relevance(decoder: DecoderSpec, bindings: Sequence[OutputBinding], outputs: Sequence[Floats]) -> Floats:
    """The best score of anything in each cell.

    Args:
        decoder: How heads become scores.
        bindings: Kind and head of each output.
        outputs: Raw heads, ``(n, rows, columns, anchors * k)`` each.

    Returns:
        ``(n, rows, columns)`` in 0..1, on the finest grid.
    """
    maps = []
    for head, spec in enumerate(decoder.heads):
        parts: dict[str, Floats] = {
            b.kind: output for b, output in zip(bindings, outputs, strict=True) if b.head == head
        }
        maps.append(_scores(decoder, parts, len(spec.anchors)))
    finest = max(maps, key=lambda each: each.shape[1] * each.shape[2])
    best: Floats = np.maximum.reduce([resized(each, finest.shape[1:3]) for each in maps])
    return best


def _scores(decoder: DecoderSpec, parts: dict[str, Floats], anchors: int) -> Floats:
    logits = parts["class"].reshape(*parts["class"].shape[:3], anchors, -1)
    if decoder.activation == "softmax":
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray((shares[..., 1:].max(-1) / shares.sum(-1)).max(-1))
    scores = sigmoid(logits.max(axis=-1))
    if "objectness" in parts:
        scores = scores * sigmoid(parts["objectness"])
    return np.asarray(scores.max(axis=-1))


def resized(maps: Floats, size: tuple[int, int]) -> Floats:
    """Maps ``(n, rows, columns)`` on another grid: the largest value of the cells a new cell covers, or the nearest."""
    for axis, wanted in ((1, size[0]), (2, size[1])):
        have = maps.shape[axis]
        if wanted >= have:
            maps = maps.take(np.arange(wanted) * have // wanted, axis=axis)
        else:
            maps = np.maximum.reduceat(maps, np.arange(wanted) * have // wanted, axis=axis)
    return maps
