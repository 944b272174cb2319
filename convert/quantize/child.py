"""The converter's own process: ``python -m convert.quantize.child FOLDER``.

Reads ``saved_model/`` and ``calibration.npy`` (float32, one sample per row) in FOLDER and writes ``model.tflite``.
Runs apart because some graphs crash the converter, and a crash must become an error line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Converts to full int8: int8 input, int8 outputs, per-channel int8 weights."""
    import numpy as np
    import tensorflow as tf

    samples = np.load(folder / "calibration.npy", mmap_mode="r")

    def dataset() -> Iterator[list[Any]]:
        for sample in samples:
            yield [sample[None]]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved_model"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    (folder / "model.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
