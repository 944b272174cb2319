"""Ultralytics' layout of v5, and YOLOX's: an objectness beside the class scores, decoded inside the graph.

    (1, N, 5 + C)   for each of N candidates: centre x, centre y, width, height, objectness, then C class scores

    score of class k = objectness * class k, all in 0..1

Boxes are in fractions of the input's sides or in pixels, as the card says. No class score exceeds 1, so an objectness
below the threshold ends a candidate: it is compared as it is stored, and few candidates are left to compute.
"""

from __future__ import annotations

import numpy as np

from runtime.card import ModelCard
from runtime.decode.candidates import Candidates, dequantize, no_candidates
from runtime.decode.single import corners, find_output, loose_number, unit_pixels
from runtime.engine import Executor, Outputs
from runtime.errors import InputError

_OBJECTNESS, _CLASSES = 4, 5


class Yolov5Decoder:
    """Reads one tensor of boxes, objectness and scores.

    Args:
        card: Says which tensor it is, and the units of the boxes.
        executor: An output of shape ``(1, N, 5 + C)``, C the number of labels.

    Raises:
        InputError: The tensor is missing or has another shape.
    """

    def __init__(self, card: ModelCard, executor: Executor) -> None:
        self._index = find_output(card, executor, "prediction")
        self._spec = executor.outputs[self._index]
        fields, shape = _CLASSES + len(card.labels.names), self._spec.shape
        if len(shape) != 3 or shape[0] != 1 or shape[2] != fields:
            raise InputError(f"{card.name} has an output {shape}", f"expected (1, N, {fields})", "rebuild the model")
        self._factor = unit_pixels(card)

    def decode(self, outputs: Outputs, score: float) -> Candidates:
        """Candidates with a score of at least ``score``, in no particular order, before suppression."""
        bound = loose_number(self._spec, score)
        if bound is None:
            return no_candidates()
        stored = outputs.output_view(self._index)[0]
        places = (stored[:, _OBJECTNESS] >= bound).nonzero()[0]
        if not len(places):
            return no_candidates()
        real = dequantize(stored.take(places, axis=0), self._spec)
        # Rounding to the tensor's scale may lift a number a little above 1.
        shares = np.minimum(real[:, _OBJECTNESS:], np.float32(1))
        every = shares[:, :1] * shares[:, 1:]
        rows, class_ids = (every >= score).nonzero()
        boxes = corners(real[:, :_OBJECTNESS].take(rows, axis=0), self._factor)
        return Candidates(boxes, every[rows, class_ids], class_ids.astype(np.int32))
