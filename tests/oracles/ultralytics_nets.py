"""An int8 ``.tflite`` shaped, and so as costly, as an Ultralytics export: YOLOv8n or YOLOv5n with random weights.

Usage, from the top of the repository: python -m tests.oracles.ultralytics_nets v8|v5 OUT.tflite PICTURE... [--size N]

The layers are those of ``yolov8n.yaml`` and ``yolov5n.yaml`` with batch normalisation folded. Boxes are decoded inside
the graph and divided by the input's side; boxes and scores lie in one int8 tensor: ``(1, 84, 8400)`` or
``(1, 25200, 85)``. The last bias is set so that about ``--objects`` candidates of each picture score above 0.4 (of
YOLOv5n, in objectness).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

_CLASSES, _BINS, _THRESHOLD, _CLASS_SHIFT = 80, 16, 0.4, 2.0
_STRIDES = (8, 16, 32)
# Sides of YOLOv5's anchors in pixels.
_ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)


def conv(x, filters, kernel=1, stride=1):
    """Convolution and SiLU, padded as PyTorch does."""
    if stride == 2:
        x, padding = layers.ZeroPadding2D(1)(x), "valid"
    else:
        padding = "same"
    x = layers.Conv2D(filters, kernel, stride, padding, kernel_initializer="he_normal")(x)
    return layers.Activation("silu")(x)


def bottleneck(x, filters, shortcut, kernels):
    """Two convolutions, and the way around them."""
    y = conv(conv(x, filters, kernels[0]), filters, kernels[1])
    return layers.Add()([x, y]) if shortcut else y


def c2f(x, filters, repeats, shortcut=False):
    """YOLOv8's block: every bottleneck's output is kept."""
    half = filters // 2
    x = conv(x, filters)
    parts = [x[..., :half], x[..., half:]]
    for _ in range(repeats):
        parts.append(bottleneck(parts[-1], half, shortcut, (3, 3)))
    return conv(layers.Concatenate()(parts), filters)


def c3(x, filters, repeats, shortcut=False):
    """YOLOv5's block."""
    half = filters // 2
    y = conv(x, half)
    for _ in range(repeats):
        y = bottleneck(y, half, shortcut, (1, 3))
    return conv(layers.Concatenate()([y, conv(x, half)]), filters)


def sppf(x, filters):
    """Three poolings in a row."""
    x = conv(x, filters // 2)
    parts = [x]
    for _ in range(3):
        parts.append(layers.MaxPooling2D(5, 1, "same")(parts[-1]))
    return conv(layers.Concatenate()(parts), filters)


def up(x):
    """Twice the size, nearest, in ops XNNPACK takes."""
    return layers.Lambda(lambda t: tf.nn.depth_to_space(tf.concat([t] * 4, -1), 2))(x)


def body(x, block, first_kernel):
    """Backbone and neck: features of strides 8, 16 and 32."""
    x = conv(x, 16, first_kernel, 2)
    x = block(conv(x, 32, 3, 2), 32, 1, True)
    p3 = block(conv(x, 64, 3, 2), 64, 2, True)
    p4 = block(conv(p3, 128, 3, 2), 128, 2 if block is c2f else 3, True)
    p5 = sppf(block(conv(p4, 256, 3, 2), 256, 1, True), 256)
    if block is c3:
        p5 = conv(p5, 128)
    n4 = block(layers.Concatenate()([up(p5), p4]), 128, 1)
    if block is c3:
        n4 = conv(n4, 64)
    n3 = block(layers.Concatenate()([up(n4), p3]), 64, 1)
    n4 = block(layers.Concatenate()([conv(n3, 64, 3, 2), n4]), 128, 1)
    n5 = block(layers.Concatenate()([conv(n4, 128, 3, 2), p5]), 256, 1)
    return n3, n4, n5


def v8(size):
    """``(1, 84, N)``; the second model gives the logits of the classes."""
    picture = keras.Input((size, size, 3), batch_size=1)
    boxes, classes = [], []
    for feature, stride in zip(body(picture, c2f, 3), _STRIDES, strict=True):
        cells = size // stride
        sides = layers.Conv2D(4 * _BINS, 1)(conv(conv(feature, 64, 3), 64, 3))
        shares = layers.Softmax()(layers.Reshape((cells * cells * 4, _BINS))(sides))
        mean = layers.Dense(1, use_bias=False, trainable=False, name=f"bins_{stride}")(shares)
        distance = layers.Reshape((cells * cells, 4))(mean)
        grid = _grid(cells, 1)
        first, last = ops.subtract(grid, distance[..., :2]), distance[..., 2:] + grid
        boxes.append(layers.Concatenate()([(first + last) / 2, last - first]) * (stride / size))
        logits = layers.Conv2D(_CLASSES, 1, name=f"classes_{stride}")(conv(conv(feature, 80, 3), 80, 3))
        classes.append(layers.Reshape((cells * cells, _CLASSES))(logits))
    logits = layers.Concatenate(axis=1)(classes)
    found = layers.Concatenate()([layers.Concatenate(axis=1)(boxes), layers.Activation("sigmoid")(logits)])
    model = keras.Model(picture, layers.Permute((2, 1))(found))
    for stride in _STRIDES:
        model.get_layer(f"bins_{stride}").set_weights([np.arange(_BINS, dtype=np.float32)[:, None]])
    return model, keras.Model(picture, ops.max(logits, -1)), ("classes",)


def v5(size):
    """``(1, N, 85)``; the second model gives the logits of objectness."""
    picture = keras.Input((size, size, 3), batch_size=1)
    found, objects = [], []
    for feature, stride, anchors in zip(body(picture, c3, 6), _STRIDES, _ANCHORS, strict=True):
        cells = size // stride
        raw = [layers.Conv2D(3 * n, 1, name=f"{name}_{stride}")(feature) for name, n in _FIELDS.items()]
        box, objectness, classes = (
            layers.Reshape((cells * cells * 3, n))(x) for x, n in zip(raw, _FIELDS.values(), strict=True)
        )
        box = layers.Activation("sigmoid")(box)
        centre = (box[..., :2] * 2 + _grid(cells, 3) - 1) * (stride / size)
        sides = (box[..., 2:] * 2) ** 2 * np.tile(np.float32(anchors), (cells * cells, 1)) / size
        objects.append(objectness[..., 0])
        classes = classes * 20 - _CLASS_SHIFT  # Most classes of most candidates are unlikely, as in a trained network.
        scores = layers.Activation("sigmoid")(layers.Concatenate()([objectness, classes]))
        found.append(layers.Concatenate()([centre, sides, scores]))
    model = keras.Model(picture, layers.Concatenate(axis=1)(found))
    return model, keras.Model(picture, ops.concatenate(objects, 1)), ("objectness",)


def settle(model, logits, names, samples, objects):
    """Scales the layers of those names so that about so many candidates per sample score above the threshold."""
    every = np.concatenate([np.asarray(logits(sample)).ravel() for sample in samples])
    wanted = np.log(_THRESHOLD / (1 - _THRESHOLD))
    rank = len(every) - min(len(every) - 1, objects * len(samples))
    shift, spread = np.partition(every, rank)[rank], max(every.std(), 1e-6)
    for layer in model.layers:
        if layer.name.startswith(names):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel / spread, bias + wanted - shift / spread])


_FIELDS = {"box": 4, "objectness": 1, "classes": _CLASSES}


def _grid(cells, anchors):
    """Centres of the cells, x before y, in cells."""
    y, x, _ = np.indices((cells, cells, anchors), np.float32)
    return np.stack([x, y], -1).reshape(-1, 2) + np.float32(0.5)


def letterboxed(path, size):
    """A picture as the network gets it, 0..1."""
    pixels = cv2.imread(str(path))
    ratio = size / max(pixels.shape[:2])
    pixels = cv2.resize(pixels, None, fx=ratio, fy=ratio)
    out = np.full((size, size, 3), 114, np.uint8)
    top, left = ((size - side) // 2 for side in pixels.shape[:2])
    out[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels[..., ::-1]
    return out[None].astype(np.float32) / 255


def main() -> None:
    """Builds and writes the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", choices=["v8", "v5"])
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--objects", type=int, default=40)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    model, logits, names = {"v8": v8, "v5": v5}[arguments.layout](arguments.size)
    samples = [letterboxed(path, arguments.size) for path in arguments.pictures]
    settle(model, logits, names, samples, arguments.objects)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    arguments.out.write_bytes(converter.convert())


if __name__ == "__main__":
    main()
