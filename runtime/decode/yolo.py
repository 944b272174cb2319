"""YOLOv3 and YOLOv4 heads.

For an anchor of size (pw, ph) in the cell (cx, cy) of a head with stride s (Redmon and Farhadi, "YOLOv3",
arXiv:1804.02767, section 2.1; the factor a is YOLOv4's ``scale_x_y``, arXiv:2004.10934, section 3.4):

    centre x = (a * sigmoid(tx) - (a - 1) / 2 + cx) * s      width  = pw * exp(tw)
    centre y = (a * sigmoid(ty) - (a - 1) / 2 + cy) * s      height = ph * exp(th)
    score of class k = sigmoid(objectness) * sigmoid(class k)

Nearly every anchor is empty, so the order of work is what makes this fast: objectness is compared as stored int8
against one stored number; for the few survivors each class is compared, still as stored int8, against the smallest
stored class logit that can reach the threshold with that objectness (a table of 256); only what passes becomes a real
number. An anchor yields one candidate for every class that passes: the classes of these nets are not exclusive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.card import ModelCard
from runtime.decode.candidates import Lookup, LookupPairs, by_byte, sigmoid, stored_values
from runtime.decode.heads import HeadsDecoder, Hits, Places, bind, cell_grid, half_size, loose_bound
from runtime.engine import Executor, Outputs, TensorSpec
from runtime.values import value


class YoloDecoder(HeadsDecoder):
    """Decodes split YOLO heads.

    Args:
        card: Says which tensor is which.
        executor: Outputs of shape ``(1, h, w, anchors * n)``: n = 4 for ``box`` (tx, ty, tw, th), 1 for
            ``objectness``, the number of classes for ``class``; logits, int8, uint8, int16 or float.

    Raises:
        InputError: A tensor is missing or has the wrong shape.
    """

    def __init__(self, card: ModelCard, executor: Executor) -> None:
        super().__init__([_Head(card, index, executor.outputs) for index in range(len(card.decoder.heads))])


class _Head:
    """One scale, bound to its three output tensors."""

    def __init__(self, card: ModelCard, index: int, outputs: tuple[TensorSpec, ...]) -> None:
        spec = card.decoder.heads[index]
        self._classes = len(card.labels.names)
        rows, columns = card.input.height // spec.stride, card.input.width // spec.stride
        bound = bind(card, index, outputs, (rows, columns), {"box": 4, "objectness": 1, "class": self._classes})
        self._box, self._objectness, self._class = bound["box"], bound["objectness"], bound["class"]
        self._objectness_spec, self._class_spec = outputs[self._objectness], outputs[self._class]
        self._objectness_of = Lookup(self._objectness_spec, sigmoid)
        self._class_of = Lookup(self._class_spec, sigmoid)
        factor, stride = np.float32(spec.scale_xy), np.float32(spec.stride)
        shift = (factor - np.float32(1)) / np.float32(2)
        self._geometry_of = LookupPairs(outputs[self._box], lambda t: (factor * sigmoid(t) - shift) * stride, half_size)
        cell, anchor = cell_grid(spec, rows, columns)
        # The centre is in pixels already.
        self.places = Places(np.hstack([np.ones_like(anchor), anchor]), cell * stride)
        self._score = 0.0
        self._bounds = _Bounds(None, None)

    def set_score(self, score: float) -> None:
        """Works out the stored numbers that can reach a score."""
        self._score = score
        self._bounds = _Bounds.make(
            self._objectness_of, self._class_of, self._objectness_spec, self._class_spec, score, self._classes
        )

    def find(self, outputs: Outputs) -> Hits | None:
        """What reaches the score, ``None`` when nothing does."""
        if self._bounds.objectness is None:
            return None
        stored = outputs.output_view(self._objectness).reshape(-1)
        anchors = (stored >= self._bounds.objectness).nonzero()[0]
        if not len(anchors):
            return None
        stored = stored.take(anchors)
        classes = outputs.output_view(self._class).reshape(-1, self._classes).take(anchors, axis=0)
        if self._bounds.classes is not None:
            rows, class_ids = (classes >= self._bounds.classes.take(stored.view(np.uint8), axis=0)).nonzero()
            scores = self._objectness_of(stored.take(rows)) * self._class_of(classes[rows, class_ids])
        else:
            every = self._objectness_of(stored)[:, None] * self._class_of(classes)
            rows, class_ids = (every >= self._score).nonzero()
            scores = every[rows, class_ids]
        anchors = anchors.take(rows)
        offsets = outputs.output_view(self._box).reshape(-1, 4).take(anchors, axis=0)
        return Hits(anchors, scores, class_ids, self._geometry_of(offsets))


@value
class _Bounds:
    """Smallest stored logits that can reach a score.

    Attributes:
        objectness: Stored objectness that reaches the score when the class is certain; ``None`` when none does.
        classes: ``(256, classes)``: stored class logit that reaches the score, by the byte that stores the objectness,
            repeated for every class; ``None`` for tensors that are not 8 bits wide, whose scores are computed instead.
    """

    objectness: Any
    classes: npt.NDArray[Any] | None

    @classmethod
    def make(
        cls,
        objectness_of: Lookup,
        class_of: Lookup,
        objectness: TensorSpec,
        class_: TensorSpec,
        score: float,
        classes: int,
    ) -> _Bounds:
        """The bounds of one head."""
        if objectness_of.ascending is None or class_of.ascending is None:
            return cls(loose_bound(objectness, score), None)
        reach = objectness_of.ascending[:, None] * class_of.ascending
        # Scores ascend along the stored class logit, so counting the misses gives the first hit.
        misses = np.count_nonzero(reach < score, axis=1)
        hits = (misses < 256).nonzero()[0]
        if not len(hits):
            return cls(None, None)
        # Where even the largest class logit misses the entry is never used: such objectness lies below the bound.
        first = stored_values(class_)[np.minimum(misses, 255)].astype(class_.dtype)
        rows = np.repeat(by_byte(first, objectness)[:, None], classes, axis=1)
        return cls(stored_values(objectness)[hits[0]].astype(objectness.dtype), rows)
