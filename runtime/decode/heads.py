"""What all decoders of anchor heads share: binding tensors, the grid of cells, thresholds on stored numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from runtime.card import HeadSpec, Kind, ModelCard
from runtime.decode.candidates import Candidates, Floats, logit
from runtime.engine import Outputs, TensorSpec
from runtime.errors import InputError

# exp() of a damaged or extreme logit must not become infinity: 16 already means 8 million pixels per anchor pixel.
_MAX_LOG_SIZE = np.float32(16)
# Up to here one step of float32 moves the logit by less than the margin below.
_HIGHEST, _MARGIN = 0.999, 1e-3
# Float32 scores of logits far below zero stop falling about here, so any logit may reach less.
_LOWEST = 1e-34


class Head(Protocol):
    """One scale, bound to its output tensors."""

    def set_score(self, score: float) -> None:
        """Works out the stored numbers that can reach a score."""

    def decode(self, outputs: Outputs) -> Candidates | None:
        """The head's candidates, ``None`` when there are none."""


class HeadsDecoder:
    """Decodes head after head and joins what they find."""

    def __init__(self, heads: Sequence[Head]) -> None:
        self._heads = heads
        self._score = -1.0

    def decode(self, outputs: Outputs, score: float) -> Candidates:
        """Candidates with a score of at least ``score``, in no particular order, before suppression."""
        if score != self._score:
            for head in self._heads:
                head.set_score(score)
            self._score = score
        parts = [part for head in self._heads if (part := head.decode(outputs)) is not None]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))
        return Candidates(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.class_ids for part in parts]),
        )


def bind(
    card: ModelCard,
    index: int,
    outputs: tuple[TensorSpec, ...],
    cells: tuple[int, int],
    sizes: Mapping[Kind, int],
) -> dict[Kind, int]:
    """Position of each kind's tensor among the outputs.

    Args:
        card: Says which tensor is which.
        index: The head.
        outputs: The executor's outputs.
        cells: Rows and columns of the head.
        sizes: Channels per anchor by kind.

    Raises:
        InputError: A tensor is missing or has the wrong shape.
    """
    count = len(card.decoder.heads[index].anchors)
    found: dict[Kind, int] = {}
    for kind, size in sizes.items():
        shape = (1, *cells, count * size)
        names = [output.name for output in card.outputs if output.head == index and output.kind == kind]
        positions = [i for i, output in enumerate(outputs) if output.name in names]
        if len(positions) != 1 or outputs[positions[0]].shape != shape:
            seen = ", ".join(f"{output.name} {output.shape}" for output in outputs)
            raise InputError(
                f"{card.name} has outputs {seen[:200]}",
                f"the card wants one '{kind}' tensor of shape {shape} for head {index}",
                "rebuild the model",
            )
        found[kind] = positions[0]
    return found


def cell_grid(spec: HeadSpec, rows: int, columns: int) -> tuple[Floats, Floats]:
    """Cell (column, row) and anchor size in pixels, ``(rows * columns * anchors, 2)`` each, in the tensors' order."""
    y, x, _ = np.indices((rows, columns, len(spec.anchors)), np.float32)
    cell = np.stack([x, y], axis=-1).reshape(-1, 2)
    anchor = np.tile(np.array(spec.anchors, np.float32), (rows * columns, 1))
    return np.ascontiguousarray(cell, np.float32), anchor


def half_size(t: Floats) -> Floats:
    """Half the side of a box in units of its anchor, from the logarithm of the side."""
    return np.asarray(np.exp(np.minimum(t, _MAX_LOG_SIZE)) / 2, np.float32)


def loose_logit(score: float) -> float:
    """A logit that no float32 sigmoid or softmax of at least ``score`` lies below; the exact score decides later."""
    return -math.inf if score < _LOWEST else logit(min(score, _HIGHEST)) - _MARGIN


def loose_bound(spec: TensorSpec, score: float) -> Any:
    """The stored number of :func:`loose_logit`, rounded outwards to the tensor's type.

    Args:
        spec: A tensor of logits.
        score: Lowest score wanted, 0..1.

    Returns:
        A number to compare the tensor with; ``None`` when no stored number reaches the score.
    """
    real = loose_logit(score)
    if not spec.quantized and spec.dtype.kind != "f":
        return real
    if not spec.quantized:
        return np.nextafter(spec.dtype.type(real), spec.dtype.type(-math.inf))
    limits = np.iinfo(spec.dtype)
    bound = max(real / spec.scale + spec.zero_point - 1, float(limits.min))
    return None if bound > limits.max else spec.dtype.type(math.floor(bound))
