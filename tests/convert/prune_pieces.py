"""Pieces of networks, each with another thing that can happen to channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from convert.models.layers import ChannelGroup, EdgePadding, Mish, NearestUpsample
from convert.train.fused_norm import FusedBatchNormalization
from tests.convert.prune_nets import conv, net

layers = keras.layers
# From two tensors (b, 8, 8, 6) to another.
Piece = Callable[[Any, Any], Any]


def squeeze_excite(a: Any, b: Any) -> Any:
    gate = layers.Dense(4, "relu")(layers.GlobalAveragePooling2D()(a))
    return layers.Multiply()([a, layers.Reshape((1, 1, 6))(layers.Dense(6, "sigmoid")(gate))])


def squeeze_excite_by_ops(a: Any, b: Any) -> Any:
    gate = conv(conv(ops.mean(a, axis=(1, 2), keepdims=True), 4, None), 6, None)
    return a * ops.relu6(gate + 3) * (1 / 6)


def gate_without_axes(a: Any, b: Any) -> Any:
    return layers.Multiply()([a, layers.Dense(6, "sigmoid")(layers.GlobalMaxPooling2D()(b))])


def twice(make: Callable[[], Any]) -> Piece:
    """One layer for both tensors."""

    def build(a: Any, b: Any) -> Any:
        layer = make()
        return layers.Add()([layer(a), layers.ReLU()(layer(b))])

    return build


def after(first: Any, second: Any) -> Piece:
    return lambda a, b: second()(first()(a))


def split_gate(a: Any, b: Any) -> Any:
    one, two = ops.split(layers.Concatenate()([a, b]), 2, axis=-1)
    return one * ops.sigmoid(two)


def split_rows(a: Any, b: Any) -> Any:
    upper, lower = ops.split(a, 2, axis=1)
    return ops.concatenate([lower, upper, upper], axis=1)[:, 4:]


def block(name: str | None = None) -> keras.Model:
    inner = keras.Input((8, 8, 6))
    x = layers.ReLU()(layers.BatchNormalization()(conv(inner, 5, None, 3)))
    return keras.Model(inner, layers.Add()([inner, conv(x, 6, None)]), name=name)


def through_a_vector(a: Any, b: Any) -> Any:
    flat = layers.Dense(10)(layers.Flatten()(layers.AveragePooling2D(4)(a)))
    return layers.Add()([b, layers.Reshape((1, 1, 6))(layers.Dense(6)(flat))])


# Each followed from the first tensor to the last: no channel of them has to stay, but for those named in FROZEN.
PIECES: dict[str, Piece] = {
    "nothing": lambda a, b: a,
    "add": lambda a, b: layers.Add()([a, b]),
    "add to itself": lambda a, b: layers.Add()([a, a, b]),
    "subtract": lambda a, b: layers.Subtract()([a, b]),
    "multiply": lambda a, b: layers.Multiply()([a, b]),
    "average": lambda a, b: layers.Average()([a, b]),
    "maximum": lambda a, b: layers.Maximum()([a, b]),
    "operators": lambda a, b: (2.0 - a) * ops.abs(b) + np.ones((8, 8, 1), np.float32),
    "squeeze and excite": squeeze_excite,
    "squeeze and excite by ops": squeeze_excite_by_ops,
    "gate without axes": gate_without_axes,
    "one gate for all": lambda a, b: layers.Multiply()([a, conv(b, 1, None)]),
    "concatenate": lambda a, b: layers.Concatenate()([a, conv(b, 4, None), a]),
    "concatenate rows": lambda a, b: layers.MaxPooling2D((2, 1))(layers.Concatenate(axis=1)([a, b])),
    "residual": lambda a, b: layers.Add()([a, conv(layers.ReLU()(conv(b, 8, None, 3)), 6, None)]),
    "grouped": lambda a, b: conv(a, 12, None, 3, groups=3),
    "grouped twice": lambda a, b: conv(conv(a, 6, None, 3, groups=2), 9, None, groups=3),
    "depthwise": lambda a, b: layers.DepthwiseConv2D(3, padding="same")(a),
    "depthwise times two": lambda a, b: layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(a),
    "separable": lambda a, b: layers.SeparableConv2D(7, 3, depth_multiplier=2, activation="relu")(a),
    "transposed": lambda a, b: layers.Conv2DTranspose(7, 2, strides=2)(a),
    "dilated": lambda a, b: conv(a, 7, None, 3, dilation_rate=2, use_bias=False),
    "norm": lambda a, b: layers.BatchNormalization()(a),
    "fused norm": lambda a, b: FusedBatchNormalization()(a),
    "norm without scale": lambda a, b: layers.BatchNormalization(scale=False)(a),
    "prelu": lambda a, b: layers.PReLU()(a),
    "prelu shared": lambda a, b: layers.PReLU(shared_axes=[1, 2])(a),
    "prelu with one slope": lambda a, b: layers.PReLU(shared_axes=[1, 2, 3])(a),
    "mish": lambda a, b: Mish()(a),
    "pooled": after(lambda: layers.MaxPooling2D(3, 2, "same"), lambda: layers.AveragePooling2D(2)),
    "edges": after(lambda: EdgePadding((1, 1), (1, 1)), lambda: layers.Cropping2D(2)),
    "padded": after(lambda: layers.ZeroPadding2D(((2, 0), (0, 1))), lambda: layers.LeakyReLU(0.1)),
    "nearest": after(NearestUpsample, layers.MaxPooling2D),
    "upsampled": after(lambda: layers.UpSampling2D(2, interpolation="bilinear"), lambda: layers.ReLU(1.0)),
    "resized": lambda a, b: ops.image.resize(a, (5, 5)),
    "part": lambda a, b: layers.Add()(
        [ChannelGroup(2, 1)(a), ChannelGroup(3, 0)(layers.Concatenate()([b, conv(b, 3, None)]))]
    ),
    "split": split_gate,
    "rows": split_rows,
    "dense on pixels": lambda a, b: layers.Dense(7, "tanh")(a),
    "through a vector": through_a_vector,
    "pixels in a row": lambda a, b: layers.Reshape((8, 8, 6))(layers.Reshape((-1, 6))(a)),
    "pixels side by side": lambda a, b: layers.Conv1D(5, 3)(layers.Reshape((8, -1))(a)),
    "reshaped by ops": lambda a, b: layers.Dense(5)(ops.reshape(a, (-1, 16, 24))),
    "turned": lambda a, b: ops.transpose(layers.Permute((2, 1, 3))(a), (0, 2, 1, 3)),
    "repeated": lambda a, b: layers.RepeatVector(4)(layers.GlobalAveragePooling2D()(a)),
    "twice a convolution": twice(lambda: layers.Conv2D(6, 3, padding="same")),
    "twice a norm": twice(layers.BatchNormalization),
    "twice a depthwise": twice(lambda: layers.DepthwiseConv2D(3)),
    "twice a shape": twice(lambda: layers.Reshape((4, 96))),
    "twice a model": twice(block),
    "model": lambda a, b: block()(b),
    "sequential": lambda a, b: keras.Sequential([layers.Conv2D(5, 3), layers.BatchNormalization()])(a),
    "model that never trains": lambda a, b: block()(a, training=False),
    "softmax at the end": lambda a, b: conv(a, 5, None, activation="softmax"),
    "softmax between": lambda a, b: layers.Softmax()(a),
    "layer norm": lambda a, b: layers.LayerNormalization()(a),
    "lambda": lambda a, b: layers.Lambda(lambda x: x[..., ::-1])(a),
    "number for each": lambda a, b: a + np.arange(6, dtype=np.float32),
    "recurrent": lambda a, b: layers.LSTM(5)(layers.Reshape((64, 6))(a)),
    "recurrent with a mask": lambda a, b: layers.LSTM(5)(layers.Masking()(layers.Reshape((64, 6))(a))),
    "attention": lambda a, b: layers.MultiHeadAttention(2, 3)(layers.Reshape((64, 6))(a), layers.Reshape((64, 6))(b)),
}
FROZEN = (
    *("one gate for all", "rows", "softmax at the end", "softmax between", "layer norm", "lambda", "number for each"),
    *("recurrent", "recurrent with a mask", "attention"),
)


def piece_net(piece: Piece, seed: int = 0) -> keras.Model:
    """A convolution for each of two tensors, the piece, and a convolution or a dense layer behind it."""

    def build(x: Any) -> Any:
        result = piece(conv(x, 6, "a", 3), conv(x, 6, "b"))
        return conv(result, 4, "end") if len(result.shape) == 4 else layers.Dense(4, name="end")(result)

    return net(build, seed=seed)
