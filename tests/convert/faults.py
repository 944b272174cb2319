"""Networks and files with a planted fault."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from convert.evaluate.keras_executor import float_detector
from convert.importers import load_source
from convert.quantize.heads import SplitModel
from convert.quantize.tflite import to_tflite
from runtime.card import OutputBinding
from tests.nets import ANCHORS, DarknetWriter

LABELS = ("wren", "robin", "finch")


def label_pictures(cfg: Path, photos: Path, folder: Path, score: float = 0.25) -> Path:
    """Copies pictures into a YOLO folder, labelled with what a float network finds, so that its AP is high."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("\n".join(LABELS) + "\n")
    source = load_source(cfg)
    detector = float_detector(source, score)
    for path in sorted(photos.glob("*.png")):
        shutil.copy(path, folder / "images")
        image = cv2.imread(str(path))
        assert image is not None
        height, width = image.shape[:2]
        found = detector.detect(np.asarray(image, np.uint8))
        lines = []
        for class_id, (x1, y1, x2, y2) in zip(
            found.class_ids, found.boxes / [width, height, width, height], strict=True
        ):
            if x2 - x1 > 0.02 and y2 - y1 > 0.02:
                lines.append(f"{class_id} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}")
        (folder / "labels" / f"{path.stem}.txt").write_text("\n".join(lines))
    return folder


def write_names(cfg: Path) -> Path:
    """The label file beside a network."""
    cfg.with_suffix(".names").write_text("\n".join(LABELS) + "\n")
    return cfg


class KeenWriter(DarknetWriter):
    """A network whose outputs depend on the picture alone: no biases but the heads'.

    What random biases bring would be there whatever happened to the picture's part.
    """

    def keen(self, filters: int, size: int = 3, **options: Any) -> None:
        """Adds a convolution with a leaky ReLU."""
        self.conv(filters, size, batch_normalize=0, gain=1.7, **options)
        self.numbers[-2] *= 0


def keen_net(folder: Path) -> Path:
    """One head of stride 16, three classes, 64x64."""
    return _finish(KeenWriter(64, 64, seed=3), folder, outlier=1, groups=1)


def outlier_net(folder: Path, factor: float, grouped: bool) -> Path:
    """The same with channels so many times larger than the others (one in each group); readers take the factor back.

    The function is the same for every factor. Where the reader is a grouped convolution, equalisation leaves the
    channels alone; otherwise it repairs them.
    """
    return _finish(KeenWriter(64, 64, seed=3), folder, factor, 2 if grouped else 1)


def _finish(net: KeenWriter, folder: Path, outlier: float, groups: int) -> Path:
    net.keen(8, stride=2)
    net.keen(16, stride=2)
    large, bias = net.numbers[-1], net.numbers[-2]
    net.keen(16, groups=groups)
    readers = net.numbers[-1].reshape(16, -1, 9)
    # Of a group's half of the outputs, the inputs are numbered from 0 again.
    for group in range(groups):
        large[5 + 8 * group] *= outlier
        bias[5 + 8 * group] *= outlier
        readers[16 // groups * group : 16 // groups * (group + 1), 5] /= outlier
    net.keen(24, stride=2)
    net.keen(24, stride=2)
    net.yolo(3, "3,4,5")
    return write_names(net.write(folder, "keen"))


def one_tensor_net(folder: Path) -> Path:
    """A detector of strides 16 and 32 without batch normalisation tricks, for :func:`one_tensor_file`."""
    net = DarknetWriter(128, 128, seed=5)
    net.conv(8, 3, stride=2)
    net.conv(16, 3, stride=2)
    net.conv(24, 3, stride=2)
    net.conv(32, 3, stride=2)
    coarse = net.conv(32, 3)
    net.yolo(3, "0,1,2")
    net.route(str(coarse), 32)
    net.conv(32, 3, stride=2)
    net.yolo(3, "3,4,5")
    return write_names(net.write(folder, "joined"))


def one_tensor_file(cfg: Path, samples: np.ndarray[Any, Any], target: Path) -> Path:
    """The int8 file other tools make: decoded inside the graph, boxes in pixels beside scores, ``(1, N, 5 + C)``."""
    source = load_source(cfg)
    pairs = [float(number) for number in ANCHORS.split(",")]
    anchors = np.array(pairs, np.float32).reshape(-1, 2)
    rows = []
    for head, (tensor, spec) in enumerate(zip(source.model.outputs, source.decoder.heads, strict=True)):
        _, height, width, _ = tensor.shape
        own = anchors[3 * head : 3 * head + 3]
        values = keras.layers.Reshape((height * width * 3, 8))(tensor)
        rows.append(_Decode(height, width, spec.stride, own.tolist())(values))
    joined = keras.layers.Concatenate(axis=1)(rows)
    split = SplitModel(keras.Model(source.model.input, [joined]), (OutputBinding("joined", "prediction"),))
    target.write_bytes(to_tflite(split, "image", samples=samples))
    return target


class _Decode(keras.layers.Layer):  # type: ignore[misc]
    """Rows of a raw head to centre, size, objectness and class scores."""

    def __init__(self, height: int, width: int, stride: int, anchors: list[list[float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        y, x = np.mgrid[:height, :width]
        self._cells = np.repeat(np.stack([x, y], -1).reshape(-1, 2), 3, axis=0)[None].astype(np.float32) * stride
        self._anchors = np.tile(np.array(anchors, np.float32), (height * width, 1))[None]
        self._stride = float(stride)

    def call(self, inputs: Any) -> Any:
        centres = keras.ops.sigmoid(inputs[..., :2]) * self._stride + self._cells
        sizes = keras.ops.exp(inputs[..., 2:4]) * self._anchors
        return keras.ops.concatenate([centres, sizes, keras.ops.sigmoid(inputs[..., 4:])], axis=-1)
