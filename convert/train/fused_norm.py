"""Batch normalisation in few passes, for training on TensorFlow.

Keras 3 writes batch normalisation as a dozen elementwise steps, each a pass over the whole tensor; on a CPU they take
more than half of a training step of a MobileNet. TensorFlow's own kernels still take three to four times as long as the
same sums compiled by XLA. The layer keeps Keras's name, configuration and weights, so that a network trains with this
class and is saved, pruned and quantised with Keras's own. On other backends, which fuse by themselves, nothing is
replaced.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import keras


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """``keras.layers.BatchNormalization`` over ``(b, h, w, c)`` with scale and centre, compiled on TensorFlow."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalises; while training also moves the running mean and variance."""
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance = _normalise()(inputs, self.gamma.value, self.beta.value, self.epsilon)
        momentum = self.momentum
        self.moving_mean.assign(self.moving_mean * momentum + tf.stop_gradient(mean) * (1 - momentum))
        self.moving_variance.assign(self.moving_variance * momentum + tf.stop_gradient(variance) * (1 - momentum))
        return outputs


@cache
def _normalise() -> Any:
    """The normalisation of a batch and its derivative (Ioffe and Szegedy, arXiv:1502.03167, section 3)."""
    import tensorflow as tf

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def forward(inputs: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
        rows = tf.reshape(inputs, (-1, inputs.shape[-1]))
        mean = tf.reduce_mean(rows, 0)
        variance = tf.reduce_mean(tf.square(rows - mean), 0)
        gain = gamma * tf.math.rsqrt(variance + epsilon)
        return tf.reshape(rows * gain + (beta - mean * gain), tf.shape(inputs)), mean, variance

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def backward(slope: Any, inputs: Any, gamma: Any, mean: Any, variance: Any, epsilon: Any) -> Any:
        channels = inputs.shape[-1]
        rows, slopes = tf.reshape(inputs, (-1, channels)), tf.reshape(slope, (-1, channels))
        count = tf.cast(tf.shape(rows)[0], rows.dtype)
        inverse = tf.math.rsqrt(variance + epsilon)
        of_beta = tf.reduce_sum(slopes, 0)
        of_gamma = tf.reduce_sum(slopes * (rows - mean), 0) * inverse
        gain, tilt = gamma * inverse, gamma * inverse * inverse * of_gamma / count
        of_inputs = slopes * gain - rows * tilt + (tilt * mean - gain * of_beta / count)
        return tf.reshape(of_inputs, tf.shape(inputs)), of_gamma, of_beta

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def normalise(inputs: Any, gamma: Any, beta: Any, epsilon: Any) -> Any:
        outputs, mean, variance = forward(inputs, gamma, beta, epsilon)

        def gradient(slope: Any, *_: Any) -> Any:
            return *backward(slope, inputs, gamma, mean, variance, epsilon), None

        return (outputs, mean, variance), gradient

    return normalise


def fuse_norms(model: keras.Model) -> keras.Model:
    """The same network with fused normalisation where the backend gains from it; weights are copied."""
    if keras.backend.backend() != "tensorflow":
        return model
    fused = keras.models.clone_model(model, clone_function=_fused)
    fused.set_weights(model.get_weights())
    return fused


def _fused(layer: keras.layers.Layer) -> keras.layers.Layer:
    fits = type(layer) is keras.layers.BatchNormalization and layer.scale and layer.center and layer.axis in (-1, 3)
    return (FusedBatchNormalization if fits else type(layer)).from_config(layer.get_config())
