"""What all decoders of anchor heads share: binding tensors, the grid of cells, thresholds on stored numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from runtime.card import HeadSpec, Kind, ModelCard
from runtime.decode.candidates import Candidates, Floats, logit, no_candidates
from runtime.engine import Outputs, TensorSpec
from runtime.errors import InputError
from runtime.values import value

# exp() of a damaged or extreme logit must not become infinity: 16 already means 8 million pixels per anchor pixel.
_MAX_LOG_SIZE = np.float32(16)
# Up to here one step of float32 moves the logit by less than the margin below.
_HIGHEST, _MARGIN = 0.999, 1e-3
# Float32 scores of logits far below zero stop falling about here, so any logit may reach less.
_LOWEST = 1e-34


class Hits(NamedTuple):
    """What reached the score in one head.

    Attributes:
        anchors: ``(n,)`` positions among the head's anchors.
        scores: ``(n,)`` float32, 0..1.
        class_ids: ``(n,)``.
        geometry: ``(n, 4)`` float32: how far the centre lies from that of its place, x and y, and half the width and
            height, all in units of the place's scale (:class:`Places`).
    """

    anchors: npt.NDArray[np.intp]
    scores: Floats
    class_ids: npt.NDArray[np.intp]
    geometry: Floats


@value
class Places:
    """What a head's geometry is relative to, for all its anchors in the tensors' order.

    Attributes:
        scale: ``(anchors, 4)`` float32 pixels per unit of the geometry.
        centre: ``(anchors, 2)`` float32 pixels, x before y.
    """

    scale: Floats
    centre: Floats


class Head(Protocol):
    """One scale, bound to its output tensors."""

    places: Places

    def set_score(self, score: float) -> None:
        """Works out the stored numbers that can reach a score."""

    def find(self, outputs: Outputs) -> Hits | None:
        """What reaches the score, ``None`` when nothing does."""


class HeadsDecoder:
    """Asks head after head what it finds and works out the boxes of all together.

    After a network has filled the caches it is the number of NumPy's calls that counts, not the arithmetic in them.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        self._heads = heads
        self._score = -1.0
        counts = [len(head.places.centre) for head in heads]
        self._first = list(accumulate(counts[:-1], initial=0))
        self._places = np.concatenate([np.hstack([head.places.scale, head.places.centre]) for head in heads])

    def decode(self, outputs: Outputs, score: float) -> Candidates:
        """Candidates with a score of at least ``score``, in no particular order, before suppression."""
        if score != self._score:
            for head in self._heads:
                head.set_score(score)
            self._score = score
        found = []
        for head, first in zip(self._heads, self._first, strict=True):
            if (hits := head.find(outputs)) is not None:
                found.append(hits._replace(anchors=hits.anchors + first))
        if not found:
            return no_candidates()
        hits = found[0] if len(found) == 1 else Hits(*map(np.concatenate, zip(*found, strict=True)))
        return Candidates(self._boxes(hits.anchors, hits.geometry), hits.scores, hits.class_ids.astype(np.int32))

    def _boxes(self, anchors: npt.NDArray[np.intp], geometry: Floats) -> Floats:
        """``(n, 4)`` corners in tensor pixels; the geometry is used up."""
        places = self._places.take(anchors, axis=0)
        geometry *= places[:, :4]
        centre, half = geometry[:, :2], geometry[:, 2:]
        centre += places[:, 4:]
        boxes = np.empty_like(geometry)
        np.subtract(centre, half, out=boxes[:, :2])
        np.add(centre, half, out=boxes[:, 2:])
        return boxes


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
