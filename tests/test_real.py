"""The shipped recipe on real weights and real pictures: what the project promises of its first model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.detector import Detector
from runtime.nms import iou_matrix
from runtime.sources import frames, open_source
from tests.conftest import ROOT, needs_shared, run_module

pytestmark = needs_shared
NAME = "yolo-fastest-1.1"


@pytest.fixture(scope="module")
def built(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The recipe, built by the documented command."""
    out = tmp_path_factory.mktemp("build") / "models"
    done = run_module("convert", "build", NAME, "--mirror", shared / "zoo", "--out", out, timeout=600)
    assert done.returncode == 0, done.stderr
    return out / f"{NAME}.tflite", done


@pytest.fixture(scope="module")
def model(built: tuple[Path, object]) -> Path:
    return built[0]


def test_build_prints_float_next_to_int8(built: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    text = built[1].stdout
    assert built[1].stderr == ""
    assert "64 images of coco-sample/val" in text
    assert "  float  " in text
    assert "  int8   " in text


def test_every_op_is_in_one_partition(model: Path) -> None:
    facts = json.loads(run_module("runtime", "info", model, "--json").stdout)
    kinds = {op["name"] for op in facts["ops"]}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "LEAKY_RELU", "DEPTH_TO_SPACE"} <= kinds
    assert [op for op in facts["ops"] if not op["delegated"]] == []
    assert facts["partitions"] == 1
    assert facts["bytes"] < 700_000


def test_finds_dog_bicycle_and_car(model: Path, shared: Path) -> None:
    done = run_module("runtime", "detect", model, shared / "media" / "images" / "darknet" / "dog.jpg", "--json")
    found = json.loads(done.stdout)["detections"]
    # Where they are, read off the picture by hand.
    places = {"dog": [130, 220, 310, 540], "bicycle": [120, 130, 570, 420], "car": [465, 75, 690, 170]}
    for label, place in places.items():
        boxes = [row["box"] for row in found if row["label"] in (label, {"car": "truck"}.get(label))]
        assert boxes, label
        assert iou_matrix(np.array([place], np.float32), np.array(boxes, np.float32)).max() > 0.5, label


@pytest.fixture(scope="module")
def evaluation(model: Path, shared: Path) -> dict[str, Any]:
    reference = shared / "zoo" / NAME / f"{NAME}.cfg"
    data = shared / "data" / "coco-sample" / "val"
    done = run_module("convert", "evaluate", model, "--data", data, "--reference", reference, "--json")
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_float_network_is_as_accurate_as_published_figures_say(evaluation: dict[str, Any]) -> None:
    """37.1 on twice as many pictures, by another program; half of them are these."""
    assert evaluation["images"] == 64
    assert 35 < evaluation["reference"]["map50"] < 42


def test_int8_stays_close_to_float(evaluation: dict[str, Any]) -> None:
    """Plain quantisation loses 6.5 points here and agrees to 78 %; sample noise is about 2 points."""
    assert evaluation["reference"]["map50"] - evaluation["map50"] < 4
    assert evaluation["agreement_f1"] > 86


def test_video_becomes_a_video_with_the_cars_boxed(model: Path, shared: Path, tmp_path: Path) -> None:
    """What moves in this video are cars; where it moves is found without any network."""
    source = shared / "media" / "videos" / "car-detection.mp4"
    done = run_module("apps.live", model, source, tmp_path / "cars.mp4", f"json://{tmp_path / 'cars.jsonl'}")
    assert done.returncode == 0, done.stderr
    pictures = [frame.pixels for frame in frames(open_source(str(source)))]
    drawn = [frame.pixels for frame in frames(open_source(str(tmp_path / "cars.mp4")))]
    lines = [json.loads(line) for line in (tmp_path / "cars.jsonl").read_text().splitlines()]
    assert len(pictures) == len(drawn) == len(lines)
    ground = np.median(np.stack(pictures[::8]), axis=0).astype(np.uint8)
    boxed = 0
    for picture, line, result in zip(pictures, lines, drawn, strict=True):
        cars = moving_boxes(picture, ground)
        boxes = np.array([row["box"] for row in line["detections"]], np.float32).reshape(-1, 4)
        if len(cars) and len(boxes) and iou_matrix(cars, boxes).max() > 0.5:
            boxed += 1
            assert np.abs(result.astype(int) - picture).max() > 100
    # The network knows cars from the side and sees these from above, in float as well.
    assert boxed >= 20


def moving_boxes(picture: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Boxes of large regions that differ from the empty scene."""
    mask = (cv2.absdiff(picture, ground).max(axis=2) > 30).astype(np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((25, 25))), np.uint8)
    statistics = cv2.connectedComponentsWithStats(mask)[2]
    boxes = [(x, y, x + w, y + h) for x, y, w, h, area in statistics[1:] if area > 12_000]
    return np.array(boxes, np.float32).reshape(-1, 4)


def test_detector_as_a_library(model: Path, shared: Path) -> None:
    """The example of the README."""
    with Detector.open(model, threads=2) as detector:
        image = cv2.imread(str(shared / "media" / "images" / "darknet" / "person.jpg"))
        assert image is not None
        found = detector.detect(np.asarray(image, np.uint8))
        assert "person" in {detector.labels[class_id] for class_id in found.class_ids}


def test_make_without_mirror_and_network_says_so_in_one_line(tmp_path: Path) -> None:
    """The recipe's addresses, with name resolution that always fails."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise socket.gaierror(-3, 'Temporary failure in name resolution')\n"
        "socket.getaddrinfo = refuse\n"
        "from convert.cli import main\nfrom runtime.commandline import run\n"
        f"sys.exit(run(main, ['build', '{NAME}', '--out', {str(tmp_path / 'models')!r}]))"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: yolo-fastest-1.1.cfg: no mirror was given, and https://")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.tflite"))
