"""``TFLite_Detection_PostProcess``: boxes that were decoded and suppressed inside the graph.

The op (tensorflow/lite/kernels/detection_postprocess.cc) gives, best score first, for up to n boxes:

    box    (1, n, 4)  ymin, xmin, ymax, xmax as fractions of the input's sides
    class  (1, n)     class number as a float, counted without the background
    score  (1, n)     0..1
    count  (1,)       how many of the n are filled in
"""

from __future__ import annotations

import numpy as np

from runtime.card import ModelCard
from runtime.decode.candidates import Candidates, dequantize, no_candidates
from runtime.decode.single import find_output, finite
from runtime.engine import Executor, Outputs
from runtime.errors import InputError

_LEAST, _ONE = np.float32(-0.5), np.float32(1)


class PostprocessDecoder:
    """Reads the four outputs.

    Args:
        card: Says which tensor is which.
        executor: Outputs as in the module's table; float, or quantised.

    Raises:
        InputError: A tensor is missing or has the wrong shape.
    """

    def __init__(self, card: ModelCard, executor: Executor) -> None:
        self._most = np.float32(len(card.labels.names) - 0.75)
        self._sides = np.array([card.input.width, card.input.height] * 2, np.float32)
        self._box, self._class, self._score, self._count = (
            find_output(card, executor, kind) for kind in ("box", "class", "score", "count")
        )
        self._specs = executor.outputs
        shapes = [self._specs[i].shape for i in (self._box, self._class, self._score, self._count)]
        slots = shapes[1][-1] if shapes[1] else 0
        if shapes[0] != (1, slots, 4) or shapes[1:3] != [(1, slots)] * 2 or shapes[3] not in ((1,), (), (1, 1)):
            raise InputError(
                f"{card.name} has outputs of shapes {shapes}",
                "expected (1, n, 4), (1, n), (1, n), (1,)",
                "rebuild the model",
            )
        # Where x1, y1, x2 and y2 of each box lie among all its numbers.
        self._corners = np.arange(4 * slots).reshape(-1, 4)[:, [1, 0, 3, 2]]

    def decode(self, outputs: Outputs, score: float) -> Candidates:
        """Candidates with a score of at least ``score``, best first."""
        scores, numbers = self._real(outputs, self._score), self._real(outputs, self._class)
        # Comparisons are false where there is no number.
        good = (scores >= np.float32(score)) & (numbers >= _LEAST) & (numbers <= self._most)
        kept = good.nonzero()[0]
        kept = kept[: kept.searchsorted(self._real(outputs, self._count)[0])]
        if not len(kept):
            return no_candidates()
        scores = np.fmin(scores.take(kept), _ONE)
        if (scores[1:] > scores[:-1]).any():  # Not as the op leaves them.
            order = np.argsort(-scores, kind="stable")
            kept, scores = kept.take(order), scores.take(order)
        boxes = finite(self._real(outputs, self._box).take(self._corners.take(kept, axis=0)))
        boxes *= self._sides
        return Candidates(boxes, scores, np.rint(numbers.take(kept)).astype(np.int32), final=True)

    def _real(self, outputs: Outputs, index: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return dequantize(outputs.output_view(index), self._specs[index]).reshape(-1)
