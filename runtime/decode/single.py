"""What decoders of tensors share that are decoded inside the graph already."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.card import Kind, ModelCard
from runtime.decode.candidates import Floats
from runtime.engine import Executor, TensorSpec
from runtime.errors import InputError

# A damaged network may give any float; products and sums of numbers up to here stay finite.
_FAR = np.float32(1e6)


def find_output(card: ModelCard, executor: Executor, kind: Kind) -> int:
    """Position of the one output of a kind, by the name the card binds it to.

    Raises:
        InputError: It is missing.
    """
    names = [output.name for output in card.outputs if output.kind == kind]
    positions = [index for index, spec in enumerate(executor.outputs) if spec.name in names]
    if len(positions) != 1:
        seen = ", ".join(f"{spec.name} {spec.shape}" for spec in executor.outputs)
        raise InputError(
            f"{card.name} has outputs {seen[:200]}", f"the card wants one of kind '{kind}'", "rebuild the model"
        )
    return positions[0]


def loose_number(spec: TensorSpec, real: float) -> Any:
    """A stored number that nothing of at least ``real`` lies below; the exact comparison comes later.

    Args:
        spec: A tensor of scores.
        real: Lowest score wanted.

    Returns:
        A number of the tensor's type; ``None`` when no stored number reaches the score.
    """
    if not spec.quantized:
        return np.nextafter(spec.dtype.type(real), spec.dtype.type(-math.inf))
    limits = np.iinfo(spec.dtype)
    bound = max(math.floor(real / spec.scale + spec.zero_point) - 1, int(limits.min))
    return None if bound > limits.max else spec.dtype.type(bound)


def corners(boxes: Floats, factor: npt.NDArray[np.float32]) -> Floats:
    """``(n, 4)`` corners ``x1, y1, x2, y2`` in tensor pixels.

    Args:
        boxes: ``(n, 4)`` centre x, centre y, width, height in the tensor's units.
        factor: ``(2,)`` pixels per unit, x and y.
    """
    centre = finite(boxes[:, :2]) * factor
    half = np.fmin(np.fmax(boxes[:, 2:], 0), _FAR) * (factor / 2)
    return np.concatenate([centre - half, centre + half], axis=1, dtype=np.float32)


def finite(numbers: Floats) -> Floats:
    """The numbers with what is no number, infinite or absurdly large replaced by a number far below or above."""
    return np.fmin(np.fmax(numbers, -_FAR), _FAR)


def unit_pixels(card: ModelCard) -> npt.NDArray[np.float32]:
    """Pixels of the input per unit of the boxes, x and y."""
    if card.decoder.units == "pixels":
        return np.ones(2, np.float32)
    return np.array([card.input.width, card.input.height], np.float32)
