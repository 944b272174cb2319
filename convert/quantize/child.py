"""The converter's own process: ``python -m convert.quantize.child FOLDER PRECISION``.

Reads ``saved_model/`` and, where it is there, ``calibration.npy`` (float32, one sample per row) in FOLDER and writes
``model.tflite``. Runs apart because some graphs crash the converter, and a crash must become an error line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(folder: Path, precision: str) -> None:
    """Converts to the wanted precision; see ``convert.quantize.tflite.Precision``."""
    import numpy as np
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"))
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if (folder / "calibration.npy").exists():
        samples = np.load(folder / "calibration.npy", mmap_mode="r")

        def dataset() -> Iterator[list[Any]]:
            for sample in samples:
                yield [sample[None]]

        converter.representative_dataset = dataset
    ops = tf.lite.OpsSet
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif precision == "int8":
        if converter.representative_dataset is not None:
            # Refuses what cannot be int8; without pictures the converter would refuse the option itself.
            converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    elif precision == "mixed":
        # int8 where there is a range, float elsewhere; the device reads and writes int8 either way.
        converter.inference_input_type = converter.inference_output_type = tf.int8
    elif precision == "int16":
        int16 = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        # A few ops (DEPTH_TO_SPACE) have no 16-bit kernel and stay float.
        converter.target_spec.supported_ops = [int16, ops.TFLITE_BUILTINS]
    (folder / "model.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
