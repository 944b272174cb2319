"""Files from elsewhere with real weights, on real pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.classifier import Classifier
from runtime.detector import Detector
from runtime.nms import iou_matrix
from tests.conftest import needs_shared, run_module

pytestmark = needs_shared

SSD = ("ssd-mobilenet-v1-coco/detect.tflite", "ssd-mobilenet-v1-coco/COCO_labels.txt")
YOLOX = ("yolox-nano/yolox_nano.tflite", "yolo-fastest-1.1/coco.names")
# Where they are in dog.jpg, read off the picture by hand.
DOG = {"dog": [130, 220, 310, 540], "bicycle": [120, 130, 570, 420], "car": [465, 75, 690, 170]}


@pytest.mark.parametrize(("file", "names"), [SSD, YOLOX])
def test_dog_bicycle_and_car(file: str, names: str, shared: Path) -> None:
    with Detector.open(shared / "zoo" / file, 1, labels=shared / "zoo" / names) as detector:
        image = cv2.imread(str(shared / "media" / "images" / "darknet" / "dog.jpg"))
        assert image is not None
        found = detector.detect(np.asarray(image, np.uint8))
    for label, place in DOG.items():
        boxes = found.boxes[[detector.labels[k] == label for k in found.class_ids]]
        assert len(boxes), label
        assert iou_matrix(np.array([place], np.float32), boxes).max() > 0.5, label


def test_ssd_class_numbers(shared: Path) -> None:
    """The first line of its label file is "unlabeled", which the op does not count."""
    with Detector.open(shared / "zoo" / SSD[0], 1, labels=shared / "zoo" / SSD[1]) as detector:
        assert len(detector.labels) == 90
        assert detector.labels[0] == "person"
        assert detector.labels[17] == "dog"
        assert detector.card.input.scale[0] == 1 / 128
        assert detector.card.input.offset[0] == -1
    with Detector.open(shared / "zoo" / SSD[0], 1) as detector:
        assert detector.labels[17] == "class 17"


PUBLISHER_SCORE = 0.5
PUBLISHER_PICTURES = ("darknet", "coral")


def publishers_script(model: Path, names: list[str], path: Path) -> list[tuple[str, float, list[float]]]:
    """What the scripts shown with this network do: interpreter, resize, four outputs; names are one line off."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model))
    interpreter.allocate_tensors()
    (picture,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    image = cv2.imread(str(path))
    assert image is not None
    height, width = image.shape[:2]
    resized = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (300, 300))
    interpreter.set_tensor(picture["index"], resized[None])
    interpreter.invoke()
    boxes, classes, scores = (interpreter.get_tensor(output["index"])[0] for output in outputs[:3])
    found = []
    for (top, left, bottom, right), number, score in zip(boxes, classes, scores, strict=True):
        if score >= PUBLISHER_SCORE:
            box = [max(0, left * width), max(0, top * height), min(width, right * width), min(height, bottom * height)]
            found.append((names[int(number) + 1], float(score), [float(side) for side in box]))
    return found


def test_ssd_finds_what_its_publishers_script_finds(shared: Path) -> None:
    model, names = shared / "zoo" / SSD[0], shared / "zoo" / SSD[1]
    pictures = [path for folder in PUBLISHER_PICTURES for path in sorted((shared / "media/images" / folder).iterdir())]
    pictures = [path for path in pictures if path.suffix in (".jpg", ".bmp")]
    pictures += sorted((shared / "data" / "coco-sample" / "val" / "images").iterdir())[:30]
    done = run_module(
        "runtime", "detect", model, *pictures, "--labels", names, "--json", "--score", PUBLISHER_SCORE, "--threads", 1
    )
    assert done.returncode == 0, done.stderr
    total = 0
    for path, line in zip(pictures, done.stdout.splitlines(), strict=True):
        expected = publishers_script(model, names.read_text().splitlines(), path)
        found = json.loads(line)["detections"]
        assert [one["label"] for one in found] == [label for label, _, _ in expected], path
        for one, (_, score, box) in zip(found, expected, strict=True):
            assert one["score"] == pytest.approx(score, abs=0.01)
            assert one["box"] == pytest.approx(box, abs=1)
        total += len(expected)
    assert total > 100


def evaluate(*arguments: object) -> dict[str, Any]:
    done = run_module("convert", "evaluate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.parametrize(
    # 35.8 and 50.1 on twice as many pictures, by other programs; half of them are these. Sample noise is 2 to 3 points.
    ("model", "low", "high"),
    [(SSD, 34.0, 41.0), (YOLOX, 47.5, 55.0)],
)
def test_average_precision(model: tuple[str, str], low: float, high: float, shared: Path) -> None:
    data = shared / "data" / "coco-sample" / "val"
    facts = evaluate(shared / "zoo" / model[0], "--labels", shared / "zoo" / model[1], "--data", data)
    assert facts["images"] == 64
    assert low < facts["map50"] < high


@pytest.mark.parametrize(
    # 46.8, 68.7, 88.8 and 89.2 on twice as many pictures; of 500, one standard error is 1.4 to 2.2 points.
    ("name", "low", "high"),
    [
        ("mobilenet_v1_0.25_128_quant", 43.0, 51.0),
        ("mobilenet_v1_0.5_160_quant", 65.0, 72.5),
        ("mobilenet_v2_1.0_224_quant", 86.0, 91.5),
        ("tf2_mobilenet_v2_1.0_224_ptq", 85.0, 92.0),
    ],
)
def test_top1(name: str, low: float, high: float, shared: Path) -> None:
    facts = evaluate(
        shared / "zoo" / "imagenet-classifiers" / f"{name}.tflite", "--data", shared / "data" / "imagenet-sample"
    )
    assert (facts["images"], facts["background_class"]) == (500, True)
    assert low < facts["top1"] < high
    assert facts["top1"] < facts["top5"]


@pytest.mark.parametrize(("picture", "label"), [("coral/parrot.jpg", "macaw"), ("coral/cat.bmp", "cat")])
def test_pictures_anybody_can_name(picture: str, label: str, shared: Path) -> None:
    model = shared / "zoo" / "imagenet-classifiers" / "mobilenet_v2_1.0_224_quant.tflite"
    with Classifier.open(model, 1) as classifier:
        image = cv2.imread(str(shared / "media" / "images" / picture))
        assert image is not None
        best = classifier.classify(np.asarray(image, np.uint8))
        assert label in classifier.labels[best.class_ids[0]]
        assert 0 < best.scores[0] <= 1


def test_middle_of_the_picture_beats_all_of_it(shared: Path, tmp_path: Path) -> None:
    """Why classifiers are fed a crop: the same network on the same pictures, fed both ways."""
    import dataclasses

    from convert.data.classes import read_classes
    from convert.evaluate.classification import accuracy, rank
    from runtime.opening import open_engine

    card, engine = open_engine(shared / "zoo" / "imagenet-classifiers" / "mobilenet_v1_0.5_160_quant.tflite", 2)
    pictures = read_classes(shared / "data" / "imagenet-sample")
    top1 = []
    for resize in ("crop", "stretch"):
        spec = dataclasses.replace(card.input, resize=resize)
        classifier = Classifier(dataclasses.replace(card, input=spec), engine)
        top1.append(accuracy(rank(classifier, pictures.paths).classes, pictures.truth(card.labels))["top1"])
    assert top1[0] > top1[1] + 1
