"""The Darknet importer against OpenCV 4.12's own reader, number by number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from convert.importers.darknet.cfg import read_cfg
from convert.importers.darknet.network import build
from convert.importers.darknet.weights import WeightsReader
from tests.conftest import needs_shared, picture
from tests.nets import DarknetWriter, tiny_detector

# Largest difference allowed, as a share of the output's range.
TOLERANCE = 1e-4

Layers = Callable[[DarknetWriter], object]


def convolution(*args: object, **options: object) -> Layers:
    return lambda net: net.conv(*args, **options)  # type: ignore[arg-type]


def pool(**options: object) -> Layers:
    return lambda net: net.section("maxpool", net.channels[-1], **options)


def join(net: DarknetWriter, count: int) -> None:
    first = [net.conv(8, 1) for _ in range(count)]
    net.route(",".join(map(str, first)), 8 * count)


def shortcut(activation: str) -> Layers:
    def make(net: DarknetWriter) -> None:
        net.conv(8)
        net.section("shortcut", 8, **{"from": -2, "activation": activation})

    return make


def grouped_route(groups: int, group_id: int) -> Layers:
    def make(net: DarknetWriter) -> None:
        net.conv(16)
        net.route("-1", 16 // groups, groups=groups, group_id=group_id)

    return make


def upsample(net: DarknetWriter) -> None:
    net.conv(8, 3, stride=2)
    net.section("upsample", 8, stride=2)


LAYERS: dict[str, Layers] = {
    "3x3 stride 2": convolution(8, 3, stride=2),
    "3x3 without padding, stride 2": convolution(8, 3, stride=2, pad=0),
    "5x5": convolution(8, 5),
    "5x5 padding 1": convolution(8, 5, pad=0, padding=1),
    "3x3 padding 2": convolution(8, 3, pad=0, padding=2, stride=2),
    "2x2 stride 2 without padding": convolution(8, 2, stride=2, pad=0),
    "7x7 stride 4": convolution(8, 7, stride=4),
    "1x1 stride 2": convolution(8, 1, stride=2),
    "no batch norm": convolution(8, 3, batch_normalize=0),
    "groups 2": convolution(12, 3, groups=2),
    "groups 4 stride 2": convolution(8, 3, groups=4, stride=2),
    "depthwise": convolution(8, 3, groups=8),
    "depthwise 5x5 stride 2": convolution(8, 5, groups=8, stride=2),
    "depthwise, two filters a channel": convolution(16, 3, groups=8),
    **{
        f"activation {name}": convolution(8, 1, activation=name)
        for name in ("leaky", "relu", "linear", "logistic", "mish", "swish")  # OpenCV knows no relu6
    },
    "maxpool 2 stride 2": pool(size=2, stride=2),
    "maxpool 2 stride 1": pool(size=2, stride=1),
    "maxpool 3 stride 1": pool(size=3, stride=1),
    "maxpool 3 stride 2": pool(size=3, stride=2),
    "maxpool 5 stride 1": pool(size=5, stride=1),
    "maxpool 13 stride 1": pool(size=13, stride=1),
    "join two": lambda net: join(net, 2),
    "join five": lambda net: join(net, 5),
    "join seven": lambda net: join(net, 7),
    "route group 0": grouped_route(2, 0),
    "route group 1": grouped_route(2, 1),
    "shortcut": shortcut("linear"),
    "shortcut leaky": shortcut("leaky"),
    "upsample": upsample,
    "dropout": lambda net: net.section("dropout", 8, probability=0.5),
}


def build_net(cfg: Path) -> tuple[tuple[int, int], keras.Model]:
    """Input width and height, and the whole network; its outputs are the raw heads, or else the last layer."""
    sections = read_cfg(cfg)
    width, height = sections[0].integer("width", 0), sections[0].integer("height", 0)
    network = build(sections, WeightsReader(cfg.with_suffix(".weights")), width, height)
    return (width, height), keras.Model(network.image, [head for head, _, _ in network.heads] or [network.outputs[-1]])


def compare(oracle: Callable[..., None], cfg: Path, folder: Path, image: np.ndarray) -> list[float]:
    """Largest difference of each output, as a share of its range."""
    size, model = build_net(cfg)
    pixels = cv2.resize(image, size)[None, :, :, ::-1].astype(np.float32) / 255
    np.save(folder / "input.npy", pixels.transpose(0, 3, 1, 2))
    oracle("opencv_darknet.py", cfg, cfg.with_suffix(".weights"), folder / "input.npy", folder / "heads.npz")
    expected = np.load(folder / "heads.npz")
    outputs = [np.asarray(output)[0] for output in keras.tree.flatten(model(pixels, training=False))]
    assert len(expected.files) == len(outputs)
    theirs = [expected[f"head_{index}"] for index in range(len(outputs))]
    return [
        float(np.abs(mine - other.reshape(mine.shape)).max() / np.ptp(mine))
        for mine, other in zip(outputs, theirs, strict=True)
    ]


@pytest.mark.parametrize("size", [32, 37])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(name: str, size: int, oracle: Callable[..., None], tmp_path: Path) -> None:
    net = DarknetWriter(size, size + 3, seed=7)
    net.conv(8, 3)
    LAYERS[name](net)
    net.conv(6, activation="linear")
    assert max(compare(oracle, net.write(tmp_path), tmp_path, picture(1))) <= TOLERANCE


def test_whole_net(oracle: Callable[..., None], tmp_path: Path) -> None:
    net = tiny_detector()
    net.lines = [line.replace("relu6", "relu") for line in net.lines]  # OpenCV knows no relu6
    differences = compare(oracle, net.write(tmp_path), tmp_path, picture(2))
    assert len(differences) == 2
    assert max(differences) <= TOLERANCE


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "linear": lambda x: x,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "swish": lambda x: x / (1 + np.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_by_its_formula(name: str, tmp_path: Path) -> None:
    outputs = {}
    for activation in ("linear", name):
        net = DarknetWriter(16, 16)
        net.conv(8, 3, activation=activation, gain=20.0)
        model = build_net(net.write(tmp_path))[1]
        outputs[activation] = np.asarray(keras.tree.flatten(model(picture(4, 16, 16)[None] / 255))[0])
    assert outputs["linear"].min() < -6
    assert outputs["linear"].max() > 6
    np.testing.assert_allclose(
        outputs[name], ACTIVATIONS[name](outputs["linear"].astype(np.float64)), rtol=1e-5, atol=1e-5
    )


REAL = [
    "yolo-fastest-1.1/yolo-fastest-1.1.cfg",
    "yolo-fastest-1.1-body/yolo-fastest-1.1_body.cfg",
    "mobilenetv2-yolov3-nano-coco/MobileNetV2-YOLOv3-Nano-coco.cfg",
    "mobilenetv2-yolov3-nano-voc/MobileNetV2-YOLOv3-Nano-voc.cfg",
    "mobilenetv2-yolo-fastest-voc/MobileNetV2-YOLO-Fastest-voc.cfg",
    "yoloface/yoloface-500k.cfg",
    "yoloface/yoloface-50k.cfg",
]


@needs_shared
@pytest.mark.parametrize("cfg", REAL)
def test_real_weights(cfg: str, shared: Path, oracle: Callable[..., None], tmp_path: Path) -> None:
    image = cv2.imread(str(shared / "media" / "images" / "darknet" / "dog.jpg"))
    assert image is not None
    assert max(compare(oracle, shared / "zoo" / cfg, tmp_path, image)) <= TOLERANCE


@needs_shared
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny", "yolov4-tiny-3l"])
def test_published_cfg_with_random_weights(
    name: str, shared: Path, oracle: Callable[..., None], tmp_path: Path
) -> None:
    cfg = tmp_path / f"{name}.cfg"
    text = (shared / "reference" / "darknet-cfg" / f"{name}.cfg").read_text()
    cfg.write_text(text.replace("width=416", "width=96").replace("height=416", "height=96"))
    random_weights(cfg)
    assert max(compare(oracle, cfg, tmp_path, picture(5))) <= TOLERANCE


def random_weights(cfg: Path) -> None:
    """A weights file for a published .cfg: walks the file as Darknet does, for the channel counts alone."""
    random = np.random.default_rng(3)
    channels: list[int] = []
    parts: list[np.ndarray] = []
    for kind, options in sections(cfg.read_text()):
        before = channels[-1] if channels else 3
        if kind == "convolutional":
            filters, size = int(options["filters"]), int(options["size"])
            parts.append(random.normal(0, 0.1, filters))
            if options.get("batch_normalize") == "1":
                parts += [random.uniform(0.8, 1.2, filters), random.normal(0, 0.1, filters), np.ones(filters)]
            fan_in = before * size * size
            parts.append(1.4 * random.normal(0, fan_in**-0.5, filters * fan_in))
            channels.append(filters)
        elif kind == "route":
            layers = [int(layer) for layer in options["layers"].split(",")]
            joined = sum(channels[layer] for layer in layers)
            channels.append(joined // int(options.get("groups", 1)))
        elif kind != "net":
            channels.append(before)
    header = np.array([0, 2, 0, 0, 0], "<i4").tobytes()
    cfg.with_suffix(".weights").write_bytes(header + b"".join(part.astype("<f4").tobytes() for part in parts))


def sections(text: str) -> list[tuple[str, dict[str, str]]]:
    """A second, careless reader of .cfg files."""
    found: list[tuple[str, dict[str, str]]] = []
    for line in (line.split("#")[0].replace(" ", "") for line in text.splitlines()):
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
        elif "=" in line:
            key, value = line.split("=", 1)
            found[-1][1][key] = value
    return found
