"""A picture through whole files whose tensors are of every type, from the file to the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.classifier import Classifier
from tests.foreign_nets import ForeignNet, StandardMetadata

SIDE = 8
TYPES: dict[str, dict[str, Any]] = {
    "uint8": {"dtype": np.uint8, "scale": 1 / 255, "zero_point": 0},
    "int8": {"dtype": np.int8, "scale": 1 / 255, "zero_point": -128},
    "int8 of another range": {"dtype": np.int8, "scale": 1 / 64, "zero_point": 3},
    "int16": {"dtype": np.int16, "scale": 1 / 32767, "zero_point": 0},
    "float16": {"dtype": np.float16},
    "float32": {"dtype": np.float32},
}


def straight_through(path: Path, **tensor: Any) -> Path:
    """A file that answers with the numbers of its input: as many classes as the picture has numbers."""
    net = ForeignNet(size=(SIDE, SIDE), **tensor)
    net.set_metadata(StandardMetadata((0.0,), (255.0,)).buffer())
    out = net.tensor("scores", (1, SIDE * SIDE * 3), **tensor)
    shape = net.constant("shape", np.array([1, SIDE * SIDE * 3], np.int32))
    net.op("RESHAPE", [net.picture, shape], [out])
    net.graph.outputs.append(out)
    return net.write(path)


@pytest.mark.parametrize("name", TYPES)
def test_brightest_numbers_are_where_they_were_painted(name: str, tmp_path: Path) -> None:
    """Red on the left, at three places; blue on the right must come second."""
    pixels = np.full((SIDE, SIDE, 3), 10, np.uint8)
    pixels[2, 1, 2], pixels[5, 0, 2], pixels[7, 3, 2], pixels[4, 6, 0] = 200, 190, 180, 170
    with Classifier.open(straight_through(tmp_path / "through.tflite", **TYPES[name]), 1) as classifier:
        best = classifier.classify(pixels)
        assert classifier.executor.inputs[0].dtype == TYPES[name]["dtype"]
    places = [np.unravel_index(k, (SIDE, SIDE, 3)) for k in best.class_ids[:4]]
    assert [tuple(map(int, place)) for place in places] == [(2, 1, 0), (5, 0, 0), (7, 3, 0), (4, 6, 2)]
