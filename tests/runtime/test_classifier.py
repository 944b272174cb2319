"""The classifier and ``runtime classify``."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime import Classifier
from runtime.cli import main
from runtime.errors import InputError, RunError
from tests.conftest import picture, run_module
from tests.foreign_nets import ForeignNet

NUMBERS = np.array([[10, 200, 40, 40, 6]], np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Five classes, the first of them the background; scores in 256ths."""
    net = ForeignNet((32, 32), np.uint8, 1 / 128, 128)
    net.output("scores", NUMBERS, 1 / 256, 0)
    return net.write(tmp_path / "birds.tflite")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("background\nwren\nrobin\nfinch\njay\n")
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), picture(1, 60, 50))
    return path


def test_best_classes_without_the_background(model: Path, labels: Path) -> None:
    with Classifier.open(model, threads=1, labels=labels) as classifier:
        best = classifier.classify(picture(1))
        # Equal scores in the order of their numbers; class 0 is none of them.
        assert best.class_ids.tolist() == [1, 2, 3, 4]
        assert best.scores.tolist() == [200 / 256, 40 / 256, 40 / 256, 6 / 256]
        assert len(best) == 4
        assert min(best.ms) >= 0
        classifier.top = 2
        assert classifier.classify(picture(2)).class_ids.tolist() == [1, 2]
    with pytest.raises(RunError, match="was closed"):
        classifier.classify(picture(1))
    with pytest.raises(InputError, match="top is 0"):
        Classifier.open(model, top=0)


def test_json_lines(model: Path, labels: Path, photo: Path) -> None:
    done = run_module("runtime", "classify", model, photo, photo, "--top", 2, "--labels", labels, "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    wren = {"label": "wren", "class_id": 1, "score": 0.7812}
    robin = {"label": "robin", "class_id": 2, "score": 0.1562}
    assert lines == [{"source": str(photo), "classes": [wren, robin]}] * 2
    assert done.stderr == "note: birds.tflite does not say, assumed: colours in the order red, green, blue\n"


def test_text(model: Path, labels: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(model), str(photo), "--labels", str(labels)]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{photo} frame 0, 60x50 (preprocess ")
    assert rows == ["  0.78  wren", "  0.16  robin", "  0.16  finch", "  0.02  jay"]


def test_info_shows_what_was_recognised(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(model)]) == 0
    text = capsys.readouterr().out
    assert "no card; recognised as birds.tflite, classify, 5 classes, decoder classes" in text
    assert "input 32x32 rgb, crop 1, real numbers -1..0.992" in text
    assert "assumed: no class is the background" in text
    assert main(["info", str(model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["card"]["task"] == "classify"
    assert "unknown" not in facts


def test_info_of_an_unknown_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = ForeignNet((32, 32))
    net.output("strange", np.zeros((1, 7, 7), np.float32))
    path = net.write(tmp_path / "strange.tflite")
    assert main(["info", str(path)]) == 0
    assert "not usable for detect and classify" in capsys.readouterr().out
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["card"] is None
    assert "'strange' float32 (1, 7, 7)" in facts["unknown"]


def test_bench_times_classifiers(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(model), "--runs", "5", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["end_to_end_ms"]["median"] > 0


def test_each_command_names_the_other(model: Path, tiny_model: Path, photo: Path) -> None:
    with pytest.raises(InputError) as caught:
        main(["detect", str(model), str(photo)])
    assert caught.value.line() == (
        "error: birds.tflite is a classifier; expected a detector; use it with python -m runtime classify"
    )
    with pytest.raises(InputError) as caught:
        main(["classify", str(tiny_model), str(photo)])
    assert caught.value.line() == (
        "error: tiny is a detector; expected a classifier; use it with python -m runtime detect"
    )
