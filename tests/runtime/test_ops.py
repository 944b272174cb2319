"""Which ops XNNPACK takes: every reason given is checked against the interpreter itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from runtime.engine import Engine
from runtime.ops import OpList, list_ops
from tests.conftest import needs_shared


def convert(layer: Callable[[Any], Any], path: Path, batch: int | None = 1) -> OpList:
    """Two convolutions with something between them, in int8."""
    image = keras.Input((16, 16, 3), batch_size=batch)
    x = keras.layers.Conv2D(8, 3, padding="same")(image)
    x = keras.layers.Conv2D(8, 1)(layer(x))
    model = keras.Model(image, x)
    model.export(path / "saved", verbose=False, input_signature=[tf.TensorSpec((batch, 16, 16, 3))])
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = np.random.default_rng(0).uniform(-1, 1, (4, 1, 16, 16, 3)).astype(np.float32)
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (path / "model.tflite").write_bytes(converter.convert())
    return list_ops(Engine(path / "model.tflite"))


def split_and_join(count: int) -> Callable[[Any], Any]:
    return lambda x: ops.concatenate([keras.layers.Conv2D(8, 1)(x) for _ in range(count)], axis=-1)


LEFT_OUT: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "hard swish": (lambda x: x * ops.relu6(x + 3) / 6, "HARD_SWISH", "use ReLU6 or SiLU"),
    "softmax": (lambda x: ops.softmax(x), "SOFTMAX", "leave it to the decoder"),
    "average pool": (keras.layers.AveragePooling2D(2), "AVERAGE_POOL_2D", "no int8 AVERAGE_POOL_2D"),
    "nearest": (keras.layers.UpSampling2D(2), "TILE", "DEPTH_TO_SPACE"),
    "hand-made leaky": (lambda x: ops.maximum(x, 0.1 * x), "MAXIMUM", "LeakyReLU"),
    "prelu": (keras.layers.PReLU(shared_axes=[1, 2]), "PRELU", "one slope"),
    "seven-way join": (split_and_join(7), "CONCATENATION", "joins 7 tensors"),
    "slice with step": (lambda x: x[:, ::2, ::2], "STRIDED_SLICE", "step 1 only"),
    "mirror pad": (lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric"), "MIRROR_PAD", "pad with zeros"),
    "exp": (lambda x: ops.exp(x), "EXP", "no int8 EXP"),
    "loose relu": (lambda x: ops.relu(x[:, 1:, 1:]), "RELU", "fused"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_op_left_out_is_named_with_its_reason(name: str, tmp_path: Path) -> None:
    layer, op, reason = LEFT_OUT[name]
    listed = convert(layer, tmp_path)
    left = {info.name: info.reason for info in listed.ops if not info.delegated}
    assert reason in left[op]
    assert all(left.values())
    assert not any(info.reason for info in listed.ops if info.delegated)
    assert all(info.delegated for info in listed.ops if info.name == "CONV_2D")
    assert listed.partitions >= 2


TAKEN: dict[str, Callable[[Any], Any]] = {
    "leaky relu": keras.layers.LeakyReLU(negative_slope=0.1),
    "silu": lambda x: ops.silu(x),
    "five-way join": split_and_join(5),
    "max pool": keras.layers.MaxPooling2D(3, 1, "same"),
    "depth to space": lambda x: ops.depth_to_space(ops.concatenate([x] * 4, axis=-1), 2),
    "bilinear": keras.layers.UpSampling2D(2, interpolation="bilinear"),
    "mean": lambda x: x + ops.mean(x, axis=(1, 2), keepdims=True),
}


@pytest.mark.parametrize("name", TAKEN)
def test_op_taken(name: str, tmp_path: Path) -> None:
    listed = convert(TAKEN[name], tmp_path)
    assert [info for info in listed.ops if not info.delegated] == []
    assert listed.partitions == 1


@needs_shared
def test_foreign_files(shared: Path) -> None:
    ssd = list_ops(Engine(shared / "zoo" / "ssd-mobilenet-v1-coco" / "detect.tflite"))
    left = {info.name: info.reason for info in ssd.ops if not info.delegated}
    assert left["CONCATENATION"] == "joins 6 tensors; XNNPACK takes at most 5: join in steps"
    assert "custom op" in left["TFLite_Detection_PostProcess"]
    open_batch = list_ops(
        Engine(shared / "zoo" / "ultraface-rfb-320" / "version-RFB-320_without_postprocessing.tflite")
    )
    reasons = [info.reason for info in open_batch.ops if info.name == "RESHAPE" and not info.delegated]
    assert reasons
    assert all("its shape is not fixed" in reason for reason in reasons)
