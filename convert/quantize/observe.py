"""What the float network's tensors look like, and how much its outputs depend on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.quiet import quiet

Floats = npt.NDArray[np.float32]

# Values kept per tensor and picture, as whole rows of channels.
_ROWS = 48
# Random directions per picture in which the outputs are differentiated; their squares average to the sum over outputs.
_DIRECTIONS = 2


@dataclass(frozen=True)
class Observed:
    """One tensor over all calibration pictures.

    Attributes:
        rows: ``(n, channels)`` values at random places.
        low, high: ``(pictures, channels)`` smallest and largest value.
        gain: ``(channels,)`` by how much independent noise of variance 1 in each value of a channel raises the summed
            variance of the network's outputs: the squared derivatives of all outputs, summed over the channel's
            values, mean over pictures.
    """

    rows: Floats
    low: Floats
    high: Floats
    gain: npt.NDArray[np.float64]

    def times(self, factors: Floats) -> Observed:
        """The same tensor after its channels were multiplied by non-zero factors."""
        low, high = self.low * factors, self.high * factors
        return dataclasses.replace(
            self,
            rows=self.rows * factors,
            low=np.minimum(low, high),
            high=np.maximum(low, high),
            gain=self.gain / np.square(factors, dtype=np.float64),
        )


def observe(
    model: keras.Model,
    points: Sequence[str],
    samples: Floats,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> dict[str, Observed]:
    """Runs pictures through a float network, forwards and backwards.

    Args:
        model: A functional model with one input of fixed size.
        points: Layers to look at.
        samples: ``(n, height, width, 3)`` inputs.
        progress: Called with (done, total).
        seed: Of the places looked at and of the directions.
    """
    step = _step(model, points)
    tf.random.set_seed(seed)
    rows, low, high = ([[] for _ in points] for _ in range(3))  # type: list[list[Any]], list[list[Any]], list[list[Any]]
    gains = [np.float64(0)] * len(points)
    for index, sample in enumerate(samples):
        with quiet():
            results = step(sample[None])
        for at, (some, least, most, gain) in enumerate(results):
            rows[at].append(some.numpy())
            low[at].append(least.numpy())
            high[at].append(most.numpy())
            gains[at] = gains[at] + gain.numpy().astype(np.float64)
        if progress:
            progress(index + 1, len(samples))
    return {
        point: Observed(
            np.concatenate(rows[at]), np.stack(low[at]), np.stack(high[at]), np.asarray(gains[at] / len(samples))
        )
        for at, point in enumerate(points)
    }


def _step(model: keras.Model, points: Sequence[str]) -> Any:
    """A function from one picture to rows, extremes and gain of each point."""
    probe = keras.Model(model.input, [*(model.get_layer(point).output for point in points), *model.outputs])

    signature = [tf.TensorSpec((1, *model.inputs[0].shape[1:]))]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def step(image: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(image)
            results = keras.tree.flatten(probe(image, training=False))
            tensors, heads = results[: len(points)], results[len(points) :]
            sums = [tf.add_n([tf.reduce_sum(_signs(head) * head) for head in heads]) for _ in range(_DIRECTIONS)]
        found = []
        gains = [tape.gradient(each, tensors, unconnected_gradients="zero") for each in sums]
        for at, tensor in enumerate(tensors):
            flat = tf.reshape(tensor, (-1, tensor.shape[-1]))
            places = tf.random.uniform((min(_ROWS, flat.shape[0]),), 0, flat.shape[0], tf.int32)
            squares = tf.add_n([tf.reshape(tf.square(gain[at]), tf.shape(flat)) for gain in gains])
            found.append(
                (
                    tf.gather(flat, places),
                    tf.reduce_min(flat, 0),
                    tf.reduce_max(flat, 0),
                    tf.reduce_sum(squares, 0) / _DIRECTIONS,
                )
            )
        return found

    return step


def _signs(tensor: Any) -> Any:
    return tf.where(tf.random.uniform(tf.shape(tensor)) < 0.5, 1.0, -1.0)
