"""Batch normalisation in one kernel, for training on TensorFlow.

Keras 3 writes batch normalisation as a dozen elementwise steps, each a pass over the whole tensor; on a CPU they take
more than half of a training step of a MobileNet. TensorFlow has one kernel for each direction. The layer keeps Keras's
name, configuration and weights, so that a network trains with this class and is saved, pruned and quantised with
Keras's own. On other backends, which fuse by themselves, nothing is replaced.
"""

from __future__ import annotations

from typing import Any

import keras


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """``keras.layers.BatchNormalization`` over ``(b, h, w, c)`` with scale and centre, on TensorFlow's fused kernel."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalises; while training also moves the running mean and variance."""
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            data_format="NHWC",
            is_training=True,
        )
        # The kernel returns the unbiased variance; Keras averages the biased one.
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], variance.dtype)
        variance = variance * (count - 1) / count
        momentum = self.momentum
        self.moving_mean.assign(self.moving_mean * momentum + tf.stop_gradient(mean) * (1 - momentum))
        self.moving_variance.assign(self.moving_variance * momentum + tf.stop_gradient(variance) * (1 - momentum))
        return outputs


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
