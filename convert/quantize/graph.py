"""Walking the graph of a Keras functional model, and what its layers mean to a quantiser."""

from __future__ import annotations

from typing import Any

import keras

from convert.models.layers import ChannelGroup, EdgePadding, NearestUpsample

# Layers that only move numbers: what comes out has the scale of what goes in.
MOVING = (
    keras.layers.Dropout,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Cropping2D,
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Permute,
    NearestUpsample,
    EdgePadding,
)


def inputs_of(layer: Any) -> list[str]:
    """Names of the layers a layer reads, in its argument order."""
    tensors = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
    return [tensor._keras_history.operation.name for tensor in tensors]


def followers(layer: Any) -> list[Any]:
    """The layers that read a layer."""
    return [node.operation for node in layer._outbound_nodes]


def outputs_of(model: keras.Model) -> set[str]:
    """Names of the layers whose results are the model's outputs."""
    return {tensor._keras_history.operation.name for tensor in model.outputs}


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a convolution, depthwise ones included."""
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))


def is_depthwise(layer: Any) -> bool:
    """Whether a layer filters each channel by itself."""
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def keeps_scale(layer: Any) -> bool:
    """Whether a layer's result is a tensor to be rounded, but on the scale of what it reads.

    Averages are new numbers, and TensorFlow Lite wants them on the old scale. A part of the channels is not new; but a
    SPLIT of which one part is used and has no range of its own, the converter leaves in float every other time.
    """
    return isinstance(layer, (keras.layers.AveragePooling2D, keras.layers.UpSampling2D, ChannelGroup))


def is_plain_relu(layer: Any) -> bool:
    """ReLU and ReLU6, which TensorFlow Lite fuses into the layer before."""
    return (
        isinstance(layer, keras.layers.ReLU)
        and layer.max_value in (None, 6.0)
        and not layer.negative_slope
        and not layer.threshold
    )


def leaky_slope(model: keras.Model, name: str) -> float | None:
    """Slope of the leaky ReLU that alone reads a layer; ``None`` where there is none."""
    readers = followers(model.get_layer(name))
    alone = len(readers) == 1 and name not in outputs_of(model)
    return float(readers[0].negative_slope) if alone and isinstance(readers[0], keras.layers.LeakyReLU) else None


def float_layers(model: keras.Model, leave: frozenset[str]) -> set[str]:
    """The layers that make or read float tensors, and so run in float themselves.

    Args:
        model: The network.
        leave: Points that stay float; behind a fused activation that is the activation's name.
    """
    found: set[str] = set()
    for point in leave:
        layer = model.get_layer(point)
        found.add(point)
        # A ReLU that is a point is part of the layer in front of it.
        found.update(inputs_of(layer) if is_plain_relu(layer) else ())
        waiting = [layer]
        while waiting:
            for reader in followers(waiting.pop()):
                found.add(reader.name)
                if isinstance(reader, (*MOVING, keras.layers.Concatenate)):
                    waiting.append(reader)
    return found
