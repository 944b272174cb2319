"""Darknet networks with random weights, written the way Darknet writes them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"


class DarknetWriter:
    """Collects sections and their weights.

    Args:
        width, height: Input size in pixels.
        seed: Of the random weights.
    """

    def __init__(self, width: int = 64, height: int = 64, seed: int = 0) -> None:
        self.lines = [f"[net]\nwidth={width}\nheight={height}\nchannels=3\n"]
        self.numbers: list[np.ndarray] = []
        self.channels = [3]
        self.random = np.random.default_rng(seed)

    def section(self, kind: str, channels: int, **options: object) -> int:
        """Adds a section without weights; returns its layer number."""
        body = "\n".join(f"{key}={value}" for key, value in options.items())
        self.lines.append(f"[{kind}]\n{body}\n")
        self.channels.append(channels)
        return len(self.channels) - 2

    def conv(
        self,
        filters: int,
        size: int = 1,
        *,
        batch_normalize: int = 1,
        activation: str = "leaky",
        groups: int = 1,
        gain: float = 1.0,
        **options: object,
    ) -> int:
        """Adds a convolution with weights that keep activations near unit size."""
        channels = self.channels[-1]
        fan_in = channels // groups * size * size
        options = {"pad": 1, **options}
        if batch_normalize:
            options["batch_normalize"] = 1
        if groups > 1:
            options["groups"] = groups
        index = self.section("convolutional", filters, filters=filters, size=size, activation=activation, **options)
        self.numbers.append(self.random.normal(0, 0.3, filters))
        if batch_normalize:
            self.numbers.append(self.random.uniform(0.5, 1.5, filters))
            self.numbers.append(self.random.normal(0, 0.3, filters))
            self.numbers.append(self.random.uniform(0.3, 2.0, filters))
        self.numbers.append(gain * self.random.normal(0, fan_in**-0.5, (filters, fan_in)))
        return index

    def yolo(self, classes: int, mask: str = "0,1,2", **options: object) -> int:
        """Adds the convolution of a head and its [yolo] section."""
        count = len(mask.split(","))
        self.conv(count * (5 + classes), batch_normalize=0, activation="linear", gain=2.0)
        return self.section(
            "yolo", count * (5 + classes), mask=mask, anchors=ANCHORS, classes=classes, num=6, **options
        )

    def route(self, layers: str, channels: int, **options: object) -> int:
        """Adds a [route]; ``channels`` is what comes out."""
        return self.section("route", channels, layers=layers, **options)

    def cfg(self) -> str:
        """Text of the .cfg file."""
        return "\n".join(self.lines)

    def weights(self) -> bytes:
        """Bytes of the .weights file."""
        body = b"".join(np.asarray(array, "<f4").tobytes() for array in self.numbers)
        return struct.pack("<iiiq", 0, 2, 5, 32013312) + body

    def write(self, folder: Path, name: str = "net") -> Path:
        """Writes both files; returns the .cfg."""
        (folder / f"{name}.weights").write_bytes(self.weights())
        cfg = folder / f"{name}.cfg"
        cfg.write_text(self.cfg())
        return cfg


def tiny_detector(seed: int = 0) -> DarknetWriter:
    """Two heads, three classes, 64x64: small enough for every test, with each kind of layer YOLOv3-tiny has."""
    net = DarknetWriter(64, 64, seed)
    net.conv(8, 3, stride=2)
    net.conv(8, 3, groups=8, activation="relu6")
    net.conv(16, 3, stride=2)
    kept = net.conv(16, 1, activation="linear")
    net.section("shortcut", 16, **{"from": -2, "activation": "linear"})
    net.conv(24, 3, stride=2)
    fine = net.conv(24, 3, activation="relu")
    net.section("maxpool", 24, size=2, stride=2)
    net.section("maxpool", 24, size=5, stride=1)
    net.conv(32)
    net.yolo(3, "3,4,5")
    net.route("-3", 32)
    net.conv(16)
    net.section("upsample", 16, stride=2)
    net.route(f"-1,{fine}", 40)
    net.yolo(3, "0,1,2")
    assert kept == 3
    return net
