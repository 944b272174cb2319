"""What the quantiser refuses, said before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.quantize.observe import Observed
from runtime.errors import InputError


def check_supported(model: keras.Model, samples: npt.NDArray[np.float32]) -> None:
    """Refuses networks and pictures that cannot be quantised.

    Args:
        model: A Keras model.
        samples: ``(n, height, width, 3)`` calibration inputs.

    Raises:
        InputError: Not a functional model of one picture of fixed size; a nested model, an operation that is no layer,
            a layer of several results, channels first; an output that is given twice; no pictures, or of another size.
    """
    if not isinstance(model, keras.src.models.functional.Functional):
        raise InputError(f"the network is a {type(model).__name__}", "expected a functional Keras model")
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        seen = ", ".join("x".join(str(size or "?") for size in shape) for shape in shapes)
        raise InputError(f"the network reads {seen}", "expected one picture of fixed height, width and channels")
    if not len(samples) or samples.shape[1:] != shapes[0]:
        wanted = "x".join(map(str, shapes[0]))
        raise InputError(f"calibration inputs of shape {samples.shape}", f"expected at least one of {wanted}")
    for operation in model.operations:
        _check_layer(operation)
    names = [tensor._keras_history for tensor in model.outputs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"the network gives the result of layer '{name.operation.name}' twice", "expected different outputs"
            )


def _check_layer(operation: Any) -> None:
    name = operation.name
    if not isinstance(operation, keras.layers.Layer):
        raise InputError(
            f"'{name}' ({type(operation).__name__}) is an operation, not a layer",
            "expected layers only",
            "write it as a layer, such as keras.layers.Add or keras.layers.Rescaling",
        )
    if isinstance(operation, keras.Model):
        raise InputError(
            f"layer '{name}' is a network of its own",
            "expected plain layers",
            "apply its layers to the input one by one",
        )
    if getattr(operation, "data_format", "channels_last") == "channels_first":
        raise InputError(f"layer '{name}' has channels first", "expected data_format='channels_last'")
    results = {len(node.output_tensors) for node in operation._inbound_nodes}
    if results - {1}:
        raise InputError(f"layer '{name}' has {max(results)} results", "expected layers of one result")


def check_finite(seen: Mapping[str, Observed]) -> None:
    """Refuses a network whose tensors overflow.

    Raises:
        InputError: Names the first layer with a value that is infinite or not a number.
    """
    for name, one in seen.items():
        if not (np.isfinite(one.low).all() and np.isfinite(one.high).all()):
            raise InputError(
                f"layer '{name}' gives infinite values or values that are not numbers",
                "expected finite ones for every calibration picture",
                "check the weights and the input's scale and offset",
            )
