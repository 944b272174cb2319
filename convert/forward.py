"""A network's outputs for many pictures."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from convert.quiet import quiet

Floats = npt.NDArray[np.float32]

_BATCH = 8


def run_network(model: keras.Model, samples: Floats) -> list[Floats]:
    """What a network gives for inputs, in batches of eight.

    Args:
        model: A network with one input.
        samples: ``(n, ..)`` inputs.

    Returns:
        ``(n, ..)`` results of each output, those of structures flattened as ``keras.tree`` does.
    """
    parts = []
    for start in range(0, len(samples), _BATCH):
        with quiet():
            parts.append(keras.tree.flatten(model.predict_on_batch(samples[start : start + _BATCH])))
    return [np.concatenate([np.asarray(each) for each in column]) for column in zip(*parts, strict=True)]
