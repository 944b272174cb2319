"""The converter's own process: ``python -m convert.quantize.child``.

TensorFlow takes seconds to load, so one process has it loaded and forks for every conversion: some graphs crash the
converter, and a crash must become an error line. A line of input is a JSON list, FOLDER and PRECISION; the line of
output that answers it is an exit status, negative for a signal.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOG = "log"
"""File in FOLDER: what the converter and its libraries said."""
_PR_SET_PDEATHSIG = 1


def main(folder: Path, precision: str) -> None:
    """Converts to the wanted precision; see ``convert.quantize.tflite.Precision``.

    Reads ``saved_model/`` and, where it is there, ``calibration.npy`` (float32, one sample per row) in ``folder`` and
    writes ``model.tflite``.
    """
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


def serve() -> None:
    """Answers until the input ends."""
    # Answers go out where nothing that a library prints does.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import tensorflow as tf

    # Loaded, and nothing more: TensorFlow starts its threads with its first operation, and only the forking one of
    # a process's threads comes along.
    assert tf.lite.TFLiteConverter
    for line in sys.stdin.buffer:
        folder, precision = json.loads(line)
        process = os.fork()
        if process == 0:
            # Whoever waits for answers must see at once when the process that gives them is gone.
            answers.close()
            _convert_and_end(Path(folder), precision)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), file=answers, flush=True)


def _convert_and_end(folder: Path, precision: str) -> None:
    status = 1
    try:
        _end_with_parent()
        with (folder / LOG).open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        main(folder, precision)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Not by the way of the process that was forked: its input is not to be read on.
        os._exit(status)


def _end_with_parent() -> None:
    """Nobody waits for a conversion whose parent is gone; prctl(2), where there is Linux."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    serve()
