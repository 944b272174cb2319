"""Keras model to TFLite, by TensorFlow's converter in a child process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from convert.quantize.apart import convert_apart
from convert.quantize.heads import SplitModel
from convert.quantize.package import rename_tensors
from convert.quiet import quiet

Precision = Literal["int8", "mixed", "int16", "float16", "dynamic", "float32"]


def to_tflite(
    split: SplitModel, input_name: str, precision: Precision = "int8", samples: npt.NDArray[np.float32] | None = None
) -> bytes:
    """Converts a network.

    Args:
        split: The network, one output per head and kind; with fake quantisation where ranges are chosen already.
        input_name: Name the input tensor gets.
        precision: ``int8`` (all of it); ``mixed`` (int8 where the network has ranges, float elsewhere); ``int16``
            (int8 weights, int16 activations); ``float16`` (weights alone); ``dynamic`` (int8 weights, activations
            quantised as they come); ``float32``.
        samples: Calibration inputs as the network gets them, ``(n, height, width, 3)`` float32: min-max ranges for
            every tensor that has none. Needed for ``int8`` and ``int16`` of a plain network.

    Returns:
        A ``.tflite`` with tensors named as the bindings say.

    Raises:
        RunError: The converter failed or crashed; the message ends with its last words.
    """
    names = [binding.name for binding in split.bindings]
    with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
        _export(split.model, Path(folder) / "saved_model")
        if samples is not None:
            np.save(Path(folder) / "calibration.npy", samples)
        convert_apart(Path(folder), precision)
        data = (Path(folder) / "model.tflite").read_bytes()
    # The converter shuffles the outputs.
    signature = {f"output_{i}": name for i, name in enumerate(names)} | {_INPUT: input_name}
    return rename_tensors(data, signature)


_INPUT = "image"
# More than these are written as variables: as constants 54 million took 3 GB of memory and eight times as long.
_MANY_WEIGHTS = 8_000_000


def _export(model: keras.Model, folder: Path) -> None:
    # A fixed batch dimension: with an open one the interpreter cannot delegate reshapes and what follows them.
    signature = [tf.TensorSpec((1, *model.inputs[0].shape[1:]), name=_INPUT)]
    with quiet():
        if model.count_params() > _MANY_WEIGHTS:
            model.export(folder, verbose=False, input_signature=signature)
        else:
            _export_constants(model, folder, signature)


def _export_constants(model: keras.Model, folder: Path, signature: list[tf.TensorSpec]) -> None:
    """Writes a SavedModel whose weights are constants of its graph; what is made of it is the same.

    Keras's own export keeps them as variables, and every layer beside them: to write that, and to read and freeze it
    for the converter, takes four times as long where layers are many and small. Constants are copied again and again.
    """

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def run(image: Any) -> dict[str, Any]:
        return {f"output_{i}": each for i, each in enumerate(keras.tree.flatten(model(image, training=False)))}

    module = tf.Module()
    module.run = convert_variables_to_constants_v2(run.get_concrete_function())
    # Nobody trains it; swish has a gradient of its own, which would ask for variables.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(folder), signatures=module.run, options=options)
