"""Ultralytics' layout from v8 on: box and class scores of each candidate in one tensor, decoded inside the graph.

    (1, 4 + C, N)   for each of N candidates: centre x, centre y, width, height, then C class scores in 0..1

Boxes are in fractions of the input's sides or in pixels, as the card says. Some exporters transpose the tensor; both
ways round are read. Classes are independent: a candidate yields a box for every class that passes.

Scores are compared as they are stored, class by class along the candidates, and few candidates are left to compute.
"""

from __future__ import annotations

import numpy as np

from runtime.card import ModelCard
from runtime.decode.candidates import Candidates, dequantize, no_candidates
from runtime.decode.single import corners, find_output, loose_number, unit_pixels
from runtime.engine import Executor, Outputs
from runtime.errors import InputError

_BOX = 4


class Yolov8Decoder:
    """Reads one tensor of boxes and scores.

    Args:
        card: Says which tensor it is, and the units of the boxes.
        executor: An output of shape ``(1, 4 + C, N)`` or ``(1, N, 4 + C)``, C the number of labels.

    Raises:
        InputError: The tensor is missing or has another shape.
    """

    def __init__(self, card: ModelCard, executor: Executor) -> None:
        self._index = find_output(card, executor, "prediction")
        self._spec = executor.outputs[self._index]
        fields, shape = _BOX + len(card.labels.names), self._spec.shape
        if len(shape) != 3 or shape[0] != 1 or fields not in shape[1:]:
            raise InputError(
                f"{card.name} has an output {shape}",
                f"expected (1, {fields}, N) or (1, N, {fields})",
                "rebuild the model",
            )
        self._transposed = shape[1] != fields
        self._factor = unit_pixels(card)

    def decode(self, outputs: Outputs, score: float) -> Candidates:
        """Candidates with a score of at least ``score``, in no particular order, before suppression."""
        bound = loose_number(self._spec, score)
        if bound is None:
            return no_candidates()
        view = outputs.output_view(self._index)[0]
        stored = view.T if self._transposed else view
        places = (stored[_BOX:].max(axis=0) >= bound).nonzero()[0]
        if not len(places):
            return no_candidates()
        real = dequantize(stored.take(places, axis=1), self._spec)
        class_ids, columns = (real[_BOX:] >= score).nonzero()
        scores = np.minimum(real[_BOX:][class_ids, columns], np.float32(1))
        boxes = corners(real[:_BOX].T.take(columns, axis=0), self._factor)
        return Candidates(boxes, scores, class_ids.astype(np.int32))
