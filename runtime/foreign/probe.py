"""A trial run, for what shapes cannot tell: whether boxes are in pixels or in fractions, or decoded at all.

Exporters differ here (Ultralytics divides by the input's size, other ways from the same weights do not), and a wrong
guess gives no error but nonsense. Every candidate starts from its own cell, so on any picture the centres are spread
over the whole input: their range is the unit.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from runtime.decode.candidates import dequantize
from runtime.engine import TensorSpec
from runtime.errors import InputError
from runtime.foreign.layout import Seen

# Centres must reach this close to both borders, as a share of the side.
_BORDER = 0.25
_ROUNDING = 0.02


def probe(seen: Seen, output: TensorSpec, axis: int, scores_from: int) -> Literal["pixels", "fractions"]:
    """Runs the network once on an even picture and looks at the boxes.

    Args:
        seen: The file.
        output: ``(1, n, m)``.
        axis: Which axis holds centre x, centre y, width, height, scores.
        scores_from: The first score on that axis.

    Raises:
        InputError: Centres are not spread over the input, or scores are not in 0..1.
    """
    engine = seen.engine
    engine.input_view()[...] = 0
    engine.invoke()
    values = dequantize(engine.output_view(0)[0], output)
    rows = values if axis == 1 else values.T
    scores = rows[scores_from:]
    low, high = np.quantile(np.nan_to_num(rows[:2]), [0.02, 0.98], axis=1)
    sides = np.array(seen.size, np.float32)
    units: Literal["pixels", "fractions"] = "pixels" if high.max() > 2 else "fractions"
    extent = sides if units == "pixels" else np.ones(2, np.float32)
    spread = (low < _BORDER * extent).all() and (high > (1 - _BORDER) * extent).all()
    if not spread or (high > (1 + _BORDER) * extent).any():
        raise _not_decoded(seen, output, f"'centres' from {low.min():.3g} to {high.max():.3g}")
    if not (scores.min() >= -_ROUNDING and scores.max() <= 1 + _ROUNDING):
        raise _not_decoded(seen, output, f"'scores' from {scores.min():.3g} to {scores.max():.3g}")
    return units


def _not_decoded(seen: Seen, output: TensorSpec, numbers: str) -> InputError:
    return InputError(
        f"{seen.path} has an output '{output.name}' {output.shape} with {numbers} on an empty picture",
        "expected boxes decoded inside the graph and scores in 0..1",
        "export the model with its decoding",
    )
