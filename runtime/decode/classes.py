"""Classifiers: one number per class of the whole picture.

Scores are ``softmax(z)`` or ``sigmoid(z)`` of the numbers z, or the numbers themselves, as the card says. All three
rise with z, so classes are ranked as they are stored; equal ones in the order of their numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.card import ModelCard
from runtime.decode.candidates import Floats, dequantize, sigmoid
from runtime.decode.single import find_output
from runtime.engine import Executor, Outputs
from runtime.errors import InputError, RunError

_MAX_LOGIT = np.float32(1e30)


class ClassesDecoder:
    """Ranks the classes of a picture.

    Args:
        card: Says which tensor it is, what makes scores of it, and whether class 0 is the background.
        executor: An output of as many numbers as there are labels, all other sides 1.

    Raises:
        InputError: The tensor is missing or has another shape.
    """

    def __init__(self, card: ModelCard, executor: Executor) -> None:
        self._index = find_output(card, executor, "class")
        self._spec = executor.outputs[self._index]
        self._name = card.name
        self._first = int(card.labels.background)
        self._activation = card.decoder.activation
        count, shape = len(card.labels.names), self._spec.shape
        if not shape or shape[-1] != count or math.prod(shape) != count:
            raise InputError(f"{card.name} has an output {shape}", f"the card has {count} labels", "rebuild the model")

    def decode(self, outputs: Outputs, top: int) -> tuple[npt.NDArray[np.int32], Floats]:
        """The best classes and their scores (0..1), best first; the background is none of them.

        Args:
            outputs: After a run.
            top: How many; fewer when there are fewer classes.

        Raises:
            RunError: The network gave something that is no number.
        """
        stored = outputs.output_view(self._index).reshape(-1)
        if stored.dtype.kind == "f" and (bad := int(np.isnan(stored).sum())):
            raise RunError(
                f"{bad} of the {len(stored)} scores of {self._name} are no numbers",
                "expected one for each class",
                "its weights are damaged, or too large for float16: convert it again",
            )
        order = _descending(stored[self._first :])[:top] + self._first
        return order.astype(np.int32), self._scores(stored, order)

    def _scores(self, stored: npt.NDArray[Any], order: npt.NDArray[np.intp]) -> Floats:
        if self._activation != "softmax":
            real = _finite(dequantize(stored.take(order), self._spec))
            return sigmoid(real) if self._activation == "sigmoid" else np.clip(real, 0, 1)
        real = _finite(dequantize(stored, self._spec))
        shares = np.exp(real - real.max())
        return np.asarray(shares.take(order) / shares.sum(), np.float32)


def _finite(real: Floats) -> Floats:
    return np.clip(real, -_MAX_LOGIT, _MAX_LOGIT)


def _descending(stored: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Positions from the largest number to the smallest; ties stay in order."""
    if stored.dtype.kind == "f":
        return np.argsort(-stored, kind="stable")
    return np.argsort(-stored.astype(np.int32), kind="stable")
