"""SSD heads.

For an anchor of size (aw, ah) in the cell (column, row) of a head with so many rows and columns, on an input of width x
height pixels, with the variances v0 and v1 of the card (Liu et al., "SSD", arXiv:1512.02325, sections 2.2 and 3; the
variances are those of the authors' code):

    ax = (column + 0.5) / columns * width          ay = (row + 0.5) / rows * height
    centre x = ax + tx * v0 * aw                   width  = aw * exp(tw * v1)
    centre y = ay + ty * v0 * ah                   height = ah * exp(th * v1)
    score of class k = sigmoid(class k), or softmax over the classes of which class 0 is the background

Nearly every anchor is empty, so classes are compared as they are stored. With sigmoid one stored number is the
threshold of the whole tensor. With softmax, score k <= 1 / (1 + exp(background - class k)), because the other classes
only add to the denominator: class k must reach the stored background plus a constant, and few anchors are left to
compute. An anchor yields one candidate for every class that passes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.card import HeadSpec, ModelCard
from runtime.decode.candidates import Floats, Lookup, LookupPairs, by_byte, dequantize, sigmoid, stored_values
from runtime.decode.heads import HeadsDecoder, Hits, Places, bind, cell_grid, half_size, loose_bound, loose_logit
from runtime.engine import Executor, Outputs, TensorSpec

# Damaged float tensors: products and differences of numbers within these limits stay finite.
_MAX_OFFSET = np.float32(1e4)
_MAX_LOGIT = np.float32(1e30)
# Farther apart than any two stored numbers of 16 bits.
_MAX_STEPS = 1 << 17

_Found = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]


class SsdDecoder(HeadsDecoder):
    """Decodes SSD heads.

    Args:
        card: Says which tensor is which; ``decoder.activation`` and ``decoder.variances`` are obeyed.
        executor: Outputs of shape ``(1, rows, columns, anchors * n)``, rows = ceil(height / stride) and columns
            likewise: n = 4 for ``box`` (tx, ty, tw, th), the number of labels for ``class`` (logits, background
            included where there is one); int8, uint8, int16 or float.

    Raises:
        InputError: A tensor is missing or has the wrong shape.
    """

    def __init__(self, card: ModelCard, executor: Executor) -> None:
        super().__init__([_Head(card, index, executor.outputs) for index in range(len(card.decoder.heads))])


class _Head:
    """One scale, bound to its two output tensors."""

    def __init__(self, card: ModelCard, index: int, outputs: tuple[TensorSpec, ...]) -> None:
        spec, classes = card.decoder.heads[index], len(card.labels.names)
        cells = -(-card.input.height // spec.stride), -(-card.input.width // spec.stride)
        bound = bind(card, index, outputs, cells, {"box": 4, "class": classes})
        self._box, self._class = bound["box"], bound["class"]
        self._score_of: _Sigmoid | _Softmax = (
            _Softmax(outputs[self._class], classes)
            if card.decoder.activation == "softmax"
            else _Sigmoid(outputs[self._class], classes)
        )
        centre, size = map(np.float32, card.decoder.variances)
        self._geometry_of = LookupPairs(
            outputs[self._box],
            lambda t: _clip(t, _MAX_OFFSET) * centre,
            lambda t: half_size(_clip(t, _MAX_OFFSET) * size),
        )
        self.places = _places_of(spec, cells, (card.input.width, card.input.height))

    def set_score(self, score: float) -> None:
        """Works out the stored numbers that can reach a score."""
        self._score_of.set_score(score)

    def find(self, outputs: Outputs) -> Hits | None:
        """What reaches the score, ``None`` when nothing does."""
        anchors, class_ids, scores = self._score_of(outputs.output_view(self._class).reshape(-1))
        if not len(anchors):
            return None
        offsets = outputs.output_view(self._box).reshape(-1, 4).take(anchors, axis=0)
        return Hits(anchors, scores, class_ids, self._geometry_of(offsets))


class _Sigmoid:
    """Scores of independent classes.

    Args:
        spec: The class tensor.
        classes: Logits per anchor.
    """

    def __init__(self, spec: TensorSpec, classes: int) -> None:
        self._spec, self._classes = spec, classes
        self._function = Lookup(spec, sigmoid)
        self._score = 0.0
        self._bound: Any = None

    def set_score(self, score: float) -> None:
        """Finds the smallest stored number that reaches a score."""
        self._score = score
        ascending = self._function.ascending
        if ascending is None:
            self._bound = loose_bound(self._spec, score)
            return
        misses = np.count_nonzero(ascending < score)
        self._bound = None if misses == len(ascending) else self._spec.dtype.type(stored_values(self._spec)[misses])

    def __call__(self, stored: npt.NDArray[Any]) -> _Found:
        """Anchor, class and score of what reaches the score; ``stored`` is the flat class tensor."""
        if self._bound is None:
            return _NOTHING
        hits = (stored >= self._bound).nonzero()[0]
        scores = self._function(stored.take(hits))
        if not self._function.eight_bit:
            exact = scores >= self._score
            hits, scores = hits[exact], scores[exact]
        return *_places(hits, self._classes), scores


class _Softmax:
    """Scores of classes that exclude each other; class 0 is the background.

    Args:
        spec: The class tensor.
        classes: Logits per anchor, background included.
    """

    def __init__(self, spec: TensorSpec, classes: int) -> None:
        self._spec, self._classes = spec, classes
        self._eight_bit = spec.dtype in (np.int8, np.uint8) and spec.quantized
        self._score, self._least = 0.0, 0.0
        self._bounds: npt.NDArray[Any] = np.empty(0)

    def set_score(self, score: float) -> None:
        """Finds how far above the background a class must lie, in stored steps where the tensor is quantised."""
        self._score, self._least = score, loose_logit(score)
        if self._spec.quantized:
            self._least = math.floor(max(-_MAX_STEPS, min(self._least / self._spec.scale, _MAX_STEPS)))
        if self._eight_bit:
            # For every byte a background can be, the bound of each class as a row. Where none can reach it the bound
            # stays at the largest number: what passes by mistake is dropped by its exact score.
            values, limits = stored_values(self._spec), np.iinfo(self._spec.dtype)
            bound = np.clip(values + np.int32(self._least), limits.min, limits.max)
            table = by_byte(bound.astype(self._spec.dtype), self._spec)
            self._bounds = np.repeat(table[:, None], self._classes, axis=1)

    def __call__(self, stored: npt.NDArray[Any]) -> _Found:
        """Anchor, class and score of what reaches the score; ``stored`` is the flat class tensor."""
        rows = stored.reshape(-1, self._classes)
        hits = self._may_pass(rows).reshape(-1).nonzero()[0]
        if not len(hits):
            return _NOTHING
        anchors, class_ids = _places(hits, self._classes)
        # An anchor with several classes is computed once; hits come in the order of anchors.
        new = np.ones(len(anchors), np.bool_)
        np.not_equal(anchors[1:], anchors[:-1], out=new[1:])
        shares = _softmax(self._real(rows.take(anchors[new], axis=0)))
        scores = shares[new.cumsum() - 1, class_ids]
        exact = scores >= self._score
        return anchors[exact], class_ids[exact], scores[exact]

    def _may_pass(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which stored logits ``(n, classes)`` can reach the score; the background never does."""
        if self._eight_bit:
            passed = np.asarray(rows >= self._bounds.take(rows[:, 0].view(np.uint8), axis=0))
        else:
            wide = rows.astype(np.int32) if self._spec.quantized else self._real(rows)
            passed = np.asarray(wide - wide[:, :1] >= self._least)
        passed[:, 0] = False
        return passed

    def _real(self, stored: npt.NDArray[Any]) -> Floats:
        real = dequantize(stored, self._spec)
        return real if self._spec.quantized else _clip(real, _MAX_LOGIT)


_NOTHING: _Found = (np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, np.float32))


def _places(hits: npt.NDArray[np.intp], classes: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Anchor and class of positions in the flat class tensor."""
    anchors = hits // classes
    return anchors, hits - anchors * classes


def _softmax(logits: Floats) -> Floats:
    """Softmax along the last axis, shifted by the largest so that nothing overflows (float32)."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(shares, np.float32)


def _clip(x: Floats, limit: np.float32) -> Floats:
    return np.clip(x, -limit, limit)


def _places_of(spec: HeadSpec, cells: tuple[int, int], size: tuple[int, int]) -> Places:
    """Offsets and sizes are in units of the anchor, centres those of the cells."""
    cell, anchor = cell_grid(spec, *cells)
    step = np.array([size[0] / cells[1], size[1] / cells[0]])
    return Places(np.hstack([anchor, anchor]), np.asarray((cell + 0.5) * step, np.float32))
