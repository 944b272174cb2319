"""Weights for the inputs that are left.

A layer that lost inputs can often make up for it: what is gone was partly said by its neighbours. Layer by layer, in
network order, this finds the weights and the bias that bring a convolution of the pruned network closest to what the
whole network computes there: least squares on pictures, no labels, no gradients (He et al., arXiv:1707.06168, and
ThiNet, arXiv:1707.06342, for the idea; the fit is the quantiser's).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.quantize.graph import inputs_of, is_convolution, outputs_of
from convert.quantize.layerwise import Flow, in_batches
from convert.quantize.refit import fit_convolution, sample_count, spread_weights
from convert.quantize.relevance import resized

Floats = npt.NDArray[np.float32]


def reconstruct(
    pruned: keras.Model,
    whole: keras.Model,
    kept: Mapping[str, npt.NDArray[np.int64]],
    samples: Floats,
    relevance: Floats | None = None,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
    stands: Mapping[str, str] | None = None,
) -> None:
    """Fits the convolutions of a pruned network to what the whole network computes, in place.

    Args:
        pruned: Without batch normalisation, each layer applied once.
        whole: The network it was made from, with layers of the same names, and perhaps others.
        kept: By layer name, which channels of the whole network's result the pruned one still has.
        samples: ``(n, height, width, 3)`` inputs.
        relevance: ``(n, rows, columns)`` in 0..1, where in each picture the outputs matter.
        progress: Called with (done, total) layers.
        seed: Of the places looked at.
        stands: By layer name, the layer of the whole network whose result it is to give, where that is another.
    """
    stands = stands or {}
    count = sample_count(whole, len(samples))
    weights = None if relevance is None else spread_weights(relevance[:count])
    random = np.random.default_rng(seed)
    batches = in_batches(samples[:count])
    exact, small = Flow(whole, batches), Flow(pruned, batches)
    ends, changed = outputs_of(pruned), set[str]()
    left = {stands.get(layer.name, layer.name): layer for layer in pruned.layers}
    for index, original in enumerate(whole.layers):
        wanted = exact.run(original)
        exact.forget(original)
        if layer := left.get(original.name):
            channels = kept[layer.name]
            fewer = len(channels) < int(wanted[0].shape[-1])
            sources = sources_of(layer)
            read = [stands.get(name, name) for name in sources]
            # Whatever reads a tensor that is not the whole network's any more, or another one, is fitted.
            other = bool(changed & set(sources)) or read != sources_of(original)
            if is_convolution(layer) and other:
                here = None
                if weights is not None and layer.name in ends:
                    here = resized(weights, tuple(wanted[0].shape[1:3]))
                target = [tf.gather(each, channels, axis=-1) for each in wanted] if fewer else wanted
                fit_convolution(layer, small[sources[0]], target, here, True, random)
            if fewer or other:
                changed.add(layer.name)
            small.run(layer)
            small.forget(layer)
        if progress:
            progress(index + 1, len(whole.layers))


def sources_of(layer: Any) -> list[str]:
    """Names of the layers a layer reads; none for an input."""
    return [] if isinstance(layer, keras.layers.InputLayer) else inputs_of(layer)
