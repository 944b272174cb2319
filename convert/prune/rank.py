"""Which channels matter: one number per class of channels, the larger the more.

Size of the weights (Li et al., arXiv:1608.08710), size of the activations, how often a channel is not zero (APoZ; Hu et
al., arXiv:1607.03250), the first-order change of the outputs (Molchanov et al., arXiv:1611.06440), and chance as the
control.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.forward import run_network
from convert.prune.forest import Ids
from convert.prune.graph import ChannelGraph
from convert.prune.plan import Rank
from convert.prune.rules import DEPTHWISE, MAKERS, SEPARABLE, TRANSPOSED
from convert.quiet import quiet
from convert.train.qat_network import copy_weights

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

# Random directions per picture in which the outputs are differentiated.
_DIRECTIONS = 2
# A value is not zero where int8 could tell it from zero: more than half a step of 1/255 of the tensor's largest.
_STEP = 0.5 / 255
_LEAST_GAIN = 1e-12


def rank(
    graph: ChannelGraph,
    method: Rank,
    samples: Floats | None = None,
    weights: Sequence[Floats] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    gains: Mapping[str, Doubles] | None = None,
) -> Doubles:
    """How much each class of channels matters.

    Args:
        graph: The network's channels.
        method: How it is judged. All but ``taylor`` compare channels of one bundle alone: their numbers are divided by
            the bundle's mean.
        samples: ``(n, ..)`` inputs for the methods that look at pictures.
        weights: For ``taylor``, where each output matters: ``(n, rows, columns)`` per output; everywhere alike
            without.
        seed: Of ``random``, and of the directions of ``taylor``.
        progress: Called with (done, total) pictures.
        gains: For ``l1`` and ``l2``, what a folded normalisation multiplied weights by: ``(channels,)`` by layer.

    Returns:
        ``(classes,)`` numbers of at least 0; those of ``taylor`` are squares of changes, so that they add up.
    """
    if method == "random":
        return np.random.default_rng(seed).random(graph.classes)
    if method in ("l1", "l2"):
        return _by_weights(graph, 1 if method == "l1" else 2, gains or {})
    assert samples is not None
    assert len(samples)
    if method == "taylor":
        return _by_outputs(graph, samples, weights, seed, progress)
    return _by_activations(graph, method, samples, progress)


def _by_weights(graph: ChannelGraph, power: int, gains: Mapping[str, Doubles]) -> Doubles:
    """Mean size of the weights that make a channel, as trained.

    Without the normalisation behind them: it divides by what a channel varies, and a channel that is dead would get the
    largest weights of all.
    """
    found: dict[str, Doubles] = {}
    for layer in graph.model.layers:
        if isinstance(layer, (*MAKERS, *DEPTHWISE)):
            size = np.abs(_filters(layer)) ** power
            found[layer.name] = np.asarray(size.mean(axis=1) ** (1 / power))
            if (gain := gains.get(layer.name)) is not None:
                # What a gain of nothing made is nothing.
                there = np.abs(gain) > _LEAST_GAIN
                found[layer.name] = np.where(there, found[layer.name] / np.where(there, np.abs(gain), 1.0), 0.0)
    return _by_class(graph, found, graph.makes)


def _filters(layer: Any) -> Doubles:
    """``(channels made, weights)``."""
    kernel: Doubles = layer.get_weights()[1 if isinstance(layer, SEPARABLE) else 0].astype(np.float64)
    if isinstance(layer, DEPTHWISE):
        return kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1]).T
    if isinstance(layer, TRANSPOSED):
        kernel = np.swapaxes(kernel, -1, -2)
    return kernel.reshape(-1, kernel.shape[-1]).T


def _by_activations(
    graph: ChannelGraph, method: Rank, samples: Floats, progress: Callable[[int, int], None] | None
) -> Doubles:
    """Mean size, or how often a channel is not zero, where layers read it."""
    gated, gates = gate(graph.model)
    points = list(gates)
    probe = keras.Model(gated.inputs, [gates[name].output for name in points])

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def step(sample: Any) -> Any:
        results = []
        for tensor in keras.tree.flatten(probe(sample, training=False)):
            size = tf.reshape(tf.abs(tensor), (-1, tensor.shape[-1]))
            there = tf.cast(size > _STEP * tf.reduce_max(size), tf.float32)
            results.append(tf.reduce_mean(size if method == "activation" else there, 0))
        return results

    sums: list[Any] = [0.0] * len(points)
    for index, sample in enumerate(samples):
        with quiet():
            sums = [
                total + each.numpy().astype(np.float64) for total, each in zip(sums, step(sample[None]), strict=True)
            ]
        if progress:
            progress(index + 1, len(samples))
    return _by_class(graph, dict(zip(points, sums, strict=True)), graph.reads)


def _by_class(graph: ChannelGraph, found: Mapping[str, Doubles], ids: Mapping[str, Ids]) -> Doubles:
    """Mean over the layers that hold a class, each relative to its own mean; 0 for what no layer holds."""
    total, count = np.zeros(graph.classes), np.zeros(graph.classes)
    for name, values in found.items():
        mean = values.mean() if values.size else 0.0
        np.add.at(total, ids[name], values / mean if mean > 0 else values)
        np.add.at(count, ids[name], 1)
    scores = total / np.maximum(count, 1)
    means = np.bincount(graph.bundle, weights=scores) / np.maximum(np.bincount(graph.bundle), 1)
    return np.asarray(scores / np.maximum(means, 1e-30)[graph.bundle])


def _by_outputs(
    graph: ChannelGraph,
    samples: Floats,
    weights: Sequence[Floats] | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Doubles:
    """By how much the outputs change, to first order, when a channel is zero wherever it is read.

    Outputs are differentiated in random directions, whose squares average to the sum over all outputs: no labels and
    no loss are needed. Each output counts relative to its own spread.
    """
    gated, gates = gate(graph.model)
    points = list(gates)
    variables = [gates[name].factor for name in points]
    tf.random.set_seed(seed)
    spread = spreads(run_network(gated, samples[:16]))

    @tf.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def step(sample: Any, here: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            heads = keras.tree.flatten(gated(sample, training=False))
            directions = [
                tf.add_n([tf.reduce_sum(_signs(h) * h * w / s) for h, w, s in zip(heads, here, spread, strict=True)])
                for _ in range(_DIRECTIONS)
            ]
        return [tape.gradient(each, [v.value for v in variables], unconnected_gradients="zero") for each in directions]

    squares = np.zeros(graph.classes)
    for index, sample in enumerate(samples):
        here = [np.float32(1)] * len(spread) if weights is None else [np.sqrt(w[index])[..., None] for w in weights]
        with quiet():
            directions = step(sample[None], [tf.constant(each) for each in here])
        for slopes in directions:
            change = np.zeros(graph.classes)
            for name, slope in zip(points, slopes, strict=True):
                np.add.at(change, graph.reads[name], slope.numpy())
            squares += change**2
        if progress:
            progress(index + 1, len(samples))
    return squares / (_DIRECTIONS * len(samples))


def spreads(outputs: Sequence[Floats]) -> list[float]:
    """Standard deviation of each output; never zero."""
    return [max(float(np.std(each)), 1e-6) for each in outputs]


def _signs(tensor: Any) -> Any:
    return tf.where(tf.random.uniform(tf.shape(tensor)) < 0.5, 1.0, -1.0)


@keras.saving.register_keras_serializable("edgewren")
class Gate(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies each channel by a factor that starts at 1."""

    def build(self, input_shape: Any) -> None:
        """One factor per channel."""
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factor")

    def call(self, inputs: Any) -> Any:
        """The product."""
        return inputs * self.factor


def gate(model: keras.Model) -> tuple[keras.Model, dict[str, Gate]]:
    """A copy of a network with a gate before each layer that makes channels out of channels.

    Returns:
        The copy, which computes the same, and its gates by the name of the layer behind each.
    """
    gates: dict[str, Gate] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(layer, MAKERS):
            return layer(*args, **kwargs)
        first = gates.setdefault(layer.name, Gate(name=f"gate_{layer.name}"))
        return layer(first(args[0]), *args[1:], **kwargs)

    copy = keras.models.clone_model(model, call_function=call, clone_function=_copied)
    copy_weights(model, copy)
    return copy, gates


def _copied(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())
