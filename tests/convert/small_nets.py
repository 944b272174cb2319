"""Small Keras networks with random weights, their int8 files, and what is in these."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import cv2
import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from convert.quantize import child, tflite
from convert.quantize.heads import SplitModel
from convert.quantize.package import read_flatbuffer
from convert.quantize.ptq import DEFAULT, Options, Quantized, quantise
from convert.quantize.tflite import Precision, to_tflite
from runtime.card import OutputBinding

Build = Callable[[Any], Any]
Range = tuple[float, float]
INT8 = int(schema.TensorType.INT8)
FLOAT = int(schema.TensorType.FLOAT32)

_CODES = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def silent(title: str) -> Callable[[int, int], None]:
    return lambda done, total: None


def make(build: Build, height: int = 16, width: int = 16, seed: int = 0, batch: int | None = 1) -> keras.Model:
    """A model of one picture with random weights; ``build`` takes the picture and returns the outputs."""
    keras.utils.clear_session(free_memory=False)
    image = keras.Input((height, width, 3), batch_size=batch, name="image")
    return randomise(keras.Model(image, build(image)), seed)


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Weights that keep tensors near unit size, and statistics that a normalisation might have."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        weights = []
        for variable in layer.weights:
            shape, kind = variable.shape, variable.path.rsplit("/", 1)[-1]
            if kind == "moving_variance":
                values = random.uniform(0.5, 2.0, shape)
            elif kind == "gamma":
                values = random.uniform(0.5, 1.5, shape)
            elif len(shape) > 1:
                fan_in = np.prod(shape[:2]) if isinstance(layer, keras.layers.DepthwiseConv2D) else np.prod(shape[:-1])
                values = random.normal(0, 1.4 / np.sqrt(fan_in), shape)
            else:
                values = random.normal(0, 0.3, shape)
            weights.append(values.astype(np.float32))
        if weights:
            layer.set_weights(weights)
    return model


def conv(x: Any, filters: int = 6, size: int = 3, **options: Any) -> Any:
    return keras.layers.Conv2D(filters, size, **{"padding": "same", **options})(x)


def relu(x: Any, most: float | None = None) -> Any:
    return keras.layers.ReLU(most)(x)


def pictures(count: int = 6, height: int = 16, width: int = 16, seed: int = 1) -> np.ndarray:
    """Blurred noise, ``(n, h, w, 3)`` in 0..1: neighbours are alike, as in photographs."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(-0.2, 1.2, (count, 5, 5, 3)).astype(np.float32)
    fine = [cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse]
    return np.clip(np.stack(fine) + random.normal(0, 0.03, (count, height, width, 3)), 0, 1).astype(np.float32)


def run(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(tensor) for tensor in keras.tree.flatten(model(images, training=False))]


def quantised(
    model: keras.Model, options: Options = DEFAULT, images: np.ndarray | None = None, range_: Range = (0.0, 1.0)
) -> Quantized:
    images = pictures(6, *model.inputs[0].shape[1:3]) if images is None else images
    return quantise(model, range_, images, options, progress=silent)


def named(model: keras.Model) -> SplitModel:
    """Outputs called ``out0``, ``out1``, ..."""
    return SplitModel(model, tuple(OutputBinding(f"out{i}", "class", i) for i in range(len(model.outputs))))


def converted(model: keras.Model, precision: Precision = "int8", samples: np.ndarray | None = None) -> bytes:
    """A ``.tflite``; the converter runs in this process, for starting one more takes seconds."""
    with warnings.catch_warnings(), mock.patch.object(tflite, "convert_apart", child.main):
        warnings.simplefilter("ignore")
        return to_tflite(named(model), "image", precision, samples)


def int8_file(net: Quantized, images: np.ndarray | None = None) -> bytes:
    """What the device gets."""
    if net.plan.gaps and images is None:
        images = pictures(6, *net.exact.inputs[0].shape[1:3])
    return converted(net.simulation(), samples=images if net.plan.gaps else None)


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file; ``values`` for constants only."""

    name: str
    type: int
    scales: np.ndarray
    zero: int
    values: np.ndarray | None

    @property
    def scale(self) -> float:
        return float(self.scales[0])


@dataclass(frozen=True)
class Op:
    """One op of a file."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_ops(data: bytes) -> list[Op]:
    """The ops of a file, in order."""
    model = read_flatbuffer(data)
    graph = model.subgraphs[0]
    tensors = [_tensor(model, tensor) for tensor in graph.tensors]
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        ends = [
            tuple(tensors[i] for i in np.asarray(indices) if i >= 0) for indices in (operator.inputs, operator.outputs)
        ]
        found.append(Op(_CODES[max(code.builtinCode, code.deprecatedBuiltinCode)], *ends))
    return found


def _tensor(model: Any, tensor: Any) -> Tensor:
    quantization = tensor.quantization
    given = quantization is not None and quantization.scale is not None
    scales = np.asarray(quantization.scale if given else [0.0], np.float32)
    zero = int(quantization.zeroPoint[0]) if given else 0
    raw, values = model.buffers[tensor.buffer].data, None
    if raw is not None and len(raw) and tensor.type == INT8:
        values = np.asarray(raw, np.uint8).view(np.int8).reshape(tensor.shape)
    return Tensor(tensor.name.decode(), int(tensor.type), scales, zero, values)


def activations(ops: list[Op]) -> list[Tensor]:
    """The tensors that are not constants."""
    found: dict[str, Tensor] = {}
    made = {tensor.name for op in ops for tensor in op.outputs}
    for op in ops:
        for tensor in (*op.inputs, *op.outputs):
            if tensor.name in made or tensor.name == "image":
                found[tensor.name] = tensor
    return list(found.values())


def run_file(data: bytes, picture: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """Outputs of a file for one float picture, as real numbers with their scale, by name."""
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    scale, zero = detail["quantization"]
    if scale:
        picture = np.clip(np.round(picture / scale) + zero, -128, 127).astype(detail["dtype"])
    interpreter.set_tensor(detail["index"], picture[None])
    interpreter.invoke()
    results = {}
    for output in interpreter.get_output_details():
        scale, zero = output["quantization"]
        values = interpreter.get_tensor(output["index"]).astype(np.float64)
        results[output["name"]] = ((values - zero) * scale if scale else values, scale)
    return results


def decibels(real: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise."""
    return float(10 * np.log10(np.var(real) / max(float(np.mean((real - found) ** 2)), 1e-30)))


def by_name(model: keras.Model, names: list[str], images: np.ndarray) -> Mapping[str, np.ndarray]:
    """Results of inner layers."""
    probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
    return dict(zip(names, run(probe, images), strict=True))
