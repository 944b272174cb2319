"""Boxes and scores in one int8 tensor: the commonest way to lose a detector.

One scale has to hold pixels of 640 and scores of 1, so that a score has two or three steps. Recognised by columns of
very different width in one output, whatever made the file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from convert.debug.model import Finding
from runtime.card import ModelCard

Floats = npt.NDArray[np.float32]

_RATIO = 20.0
_BOX_COLUMNS, _FEW = 4, 8


def check_outputs(card: ModelCard, names: Sequence[str], heads: Sequence[Floats]) -> list[Finding]:
    """Looks for outputs that hold numbers of different kinds.

    Args:
        card: Says what each output is.
        names: Of the outputs.
        heads: What the float network computes: ``(pictures, ...)`` each.
    """
    kinds = {binding.name: binding.kind for binding in card.outputs}
    found = []
    for name, head in zip(names, heads, strict=True):
        parts = _parts(_columns(head, card), kinds.get(name) == "prediction")
        if parts is None:
            continue
        large, small = parts
        if large > _RATIO * small:
            steps = max(1, round(255 * small / large))
            found.append(
                Finding(
                    "concatenated outputs",
                    f"output {name} {tuple(head.shape[1:])} holds columns that are {large:.3g} wide beside others that "
                    f"are {small:.3g} wide: in one int8 tensor the narrow ones have {steps} of 256 steps",
                    "expected boxes and scores in tensors of their own, each with its scale",
                    "export the raw heads, or convert the float network with python -m convert quantize, "
                    "which splits heads by kind",
                )
            )
    return found


def _columns(head: Floats, card: ModelCard) -> Floats:
    """Width of each column of an output; columns are the fields of a candidate, or channels."""
    # Of (1, 4 + C, N) the fields come first.
    axis = 1 if card.decoder.name == "yolov8" and head.ndim == 3 and head.shape[1] < head.shape[2] else head.ndim - 1
    rows = np.moveaxis(head, axis, -1).reshape(-1, head.shape[axis])
    return np.asarray(np.maximum(rows.max(axis=0), 0) - np.minimum(rows.min(axis=0), 0), np.float32)


def _parts(spans: Floats, decoded: bool) -> tuple[float, float] | None:
    """Width of the wide and of the narrow columns; ``None`` where there is but one kind.

    In a known layout the first four columns are the box. Elsewhere columns are sorted by width and cut at the largest
    gap: a few dead columns in a tensor of one kind are narrow too, so both sides must be more than an eighth.
    """
    if decoded and len(spans) > _BOX_COLUMNS:
        return float(spans[:_BOX_COLUMNS].max()), float(spans[_BOX_COLUMNS:].max())
    ordered = np.sort(spans[spans > 0])
    if len(ordered) < 2:
        return None
    gap = int(np.argmax(ordered[1:] / ordered[:-1])) + 1
    if min(gap, len(ordered) - gap) <= max(1, len(spans) / _FEW):
        return None
    return float(ordered[gap:].min()), float(ordered[gap - 1])
