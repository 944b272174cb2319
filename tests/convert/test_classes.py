"""Classified pictures: folders, names, figures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.cli import main
from convert.data.classes import read_classes
from convert.data.names import match_names
from convert.evaluate.classification import accuracy, difference_interval, worst_classes
from runtime.card import Labels
from runtime.errors import InputError
from tests.conftest import picture
from tests.foreign_nets import ForeignNet

BIRDS = Labels(("wren", "robin", "finch"))
WITH_BACKGROUND = Labels(("background", *BIRDS.names), True)


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(1, 40, 30))
    return folder


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("wren", ("robin", "wren"), 1),
        ("traffic light", ("person", "trafficlight"), 1),
        ("Golden_Retriever", ("golden retriever",), 0),
        ("sofa", ("chair", "couch"), 1),
        ("couch", ("sofa",), 0),
        ("sofa", ("couch", "sofa"), 1),
        ("tench", ("goldfish, Carassius auratus", "tench, Tinca tinca"), 1),
        ("crane", ("crane, bird", "crane, machine"), -1),
        ("tench", ("tench", "tench"), -1),
        ("owl", ("wren",), -1),
        ("", ("wren", ""), 1),
        ("--", ("wren", "++"), -1),
    ],
)
def test_names(name: str, labels: tuple[str, ...], expected: int) -> None:
    assert match_names([name], labels).tolist() == [expected]


@given(st.lists(st.text("abc ,_", max_size=6), unique=True, max_size=6))
def test_unique_names_find_themselves(names: list[str]) -> None:
    assert match_names(names, names).tolist() == list(range(len(names)))


def test_one_folder_per_class(tmp_path: Path) -> None:
    pictures = read_classes(write(tmp_path, "wren/b.png", "wren/a.png", "Finch/deep/c.png", "owl/d.png"))
    assert [path.name for path in pictures.paths] == ["c.png", "d.png", "a.png", "b.png"]
    assert pictures.truth(BIRDS).tolist() == [2, -1, 0, 0]
    assert pictures.truth(WITH_BACKGROUND).tolist() == [3, -1, 1, 1]
    with pytest.raises(InputError, match="has classes Finch, owl, wren; the model knows cat, dog"):
        pictures.truth(Labels(("background", "cat", "dog"), True))


def test_numbered_files(tmp_path: Path) -> None:
    pictures = read_classes(write(tmp_path, "0002_n123_finch.png", "0000_n1_wren.png"))
    assert pictures.truth(BIRDS).tolist() == [0, 2]
    assert pictures.truth(WITH_BACKGROUND).tolist() == [1, 3]
    with pytest.raises(InputError, match="a picture of class 2; the model has 2 classes, numbered from 0"):
        pictures.truth(Labels(("none", "wren", "robin"), True))


def test_numbered_files_with_a_labels_file(tmp_path: Path) -> None:
    folder = write(tmp_path, "0001_a.png", "0000_b.png")
    (folder / "labels.txt").write_text("finch\nwren\n")
    assert read_classes(folder).truth(BIRDS).tolist() == [2, 0]
    (folder / "labels.txt").write_text("finch\n")
    with pytest.raises(InputError, match=r"a picture of class 1; labels.txt has 1 names"):
        read_classes(folder)


def test_folders_named_by_number(tmp_path: Path) -> None:
    pictures = read_classes(write(tmp_path, "00/a.png", "02/b.png"))
    assert pictures.truth(WITH_BACKGROUND).tolist() == [1, 3]
    # As labels, digits are names like others.
    assert pictures.truth(Labels(("02", "00"))).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.png",), r"holds a.png; expected one folder per class, or pictures named NNNN_"),
        (("0000_a.png", "wren/b.png"), r"holds wren/b.png"),
        ((), "holds no images"),
    ],
)
def test_no_classes(files: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_classes(write(tmp_path, *files))


def test_figures() -> None:
    classes = np.array([[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [5, 4, 3, 2, 0], [5, 4, 3, 2, 1]], np.int32)
    truth = np.zeros(4, np.int32)
    assert accuracy(classes, truth) == {"top1": 25, "top5": 75}


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_worst_classes_by_counting(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    classes, truth = random.integers(0, 4, (count, 5)).astype(np.int32), random.integers(0, 4, count).astype(np.int32)
    wrong = {k: [int(c) for c, t in zip(classes[:, 0], truth, strict=True) if t == k and c != k] for k in range(4)}
    expected = sorted(((-len(others), k) for k, others in wrong.items() if len(others) >= 2))
    rows = worst_classes(classes, truth, "abcd", limit=3)
    assert [(-row["wrong"], "abcd".index(row["label"])) for row in rows] == expected[:3]
    for row in rows:
        k = "abcd".index(row["label"])
        assert row["images"] == int((truth == k).sum())
        assert row["times"] == max(map(wrong[k].count, wrong[k])) == wrong[k].count("abcd".index(row["taken_for"]))


def test_interval_against_drawing_picture_by_picture() -> None:
    random = np.random.default_rng(3)
    right, reference = random.uniform(size=200) < 0.8, random.uniform(size=200) < 0.7
    low, high = difference_interval(right, reference)
    drawn = random.integers(0, 200, (4000, 200))
    differences = 100 * (right[drawn].mean(axis=1) - reference[drawn].mean(axis=1))
    assert [low, high] == pytest.approx(np.percentile(differences, [2.5, 97.5]).tolist(), abs=0.8)
    assert difference_interval(right, right) == (0, 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Says robin, then wren, to everything."""
    net = ForeignNet((32, 32), np.uint8, 1 / 128, 128)
    net.output("scores", np.array([[50, 200, 3]], np.uint8), 1 / 256, 0)
    return net.write(tmp_path / "birds.tflite")


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "birds.txt"
    path.write_text("\n".join(BIRDS.names))
    return path


def test_evaluate(model: Path, names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "set", "wren/a.png", "wren/b.png", "robin/c.png", "owl/d.png", "finch/e.png")
    (data / "robin" / "broken.png").write_bytes(b"no picture")
    command = ["evaluate", str(model), "--data", str(data), "--labels", str(names), "--reference", str(model)]
    assert main([*command, "--json"]) == 0
    captured = capsys.readouterr()
    assert "broken.png is not a complete image" in captured.err
    assert "note: birds.tflite does not say, assumed: colours in the order red, green, blue" in captured.err
    facts = json.loads(captured.out)
    worst = {"label": "wren", "images": 2, "wrong": 2, "taken_for": "robin", "times": 2}
    assert facts == {
        "model": str(model),
        "data": f"{tmp_path.name}/set",
        "images": 4,
        "skipped_images": 1,
        "unknown_class_images": 1,
        "background_class": False,
        "top1": 25.0,
        "top5": 100.0,
        "worst": [worst],
        "agreement_top1": 100.0,
        "top1_difference": 0.0,
        "top1_difference_interval": [0.0, 0.0],
        "reference": {"model": str(model), "top1": 25.0, "top5": 100.0},
    }
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "4 images of" in text
    assert "1 left out: cannot be read, 1 left out: of classes the model lacks" in text
    assert "2 of 2 wrong: wren, taken for robin 2 times" in text
    with pytest.raises(InputError, match="1 of 5 images cannot be read"):
        main([*command, "--strict"])


def test_compared_with_a_detector(model: Path, tiny_model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "set", "0001_a.png")
    with pytest.raises(InputError, match="is a detector; expected a classifier"):
        main(["evaluate", str(model), "--data", str(data), "--reference", str(tiny_model)])


@pytest.mark.parametrize(
    ("words", "what"), [("--per-class", "--per-class"), ("--iou 0.7", "--iou"), ("--max-drop 1", "a budget")]
)
def test_what_is_said_of_boxes_only_is_not_ignored(
    words: str, what: str, model: Path, names: Path, tmp_path: Path
) -> None:
    data = write(tmp_path / "set", "0001_a.png")
    command = ["evaluate", str(model), "--data", str(data), "--labels", str(names), "--reference", str(model)]
    with pytest.raises(InputError, match=f"{what} with the classifier .*birds.tflite; expected a detector"):
        main([*command, *words.split()])


def test_models_with_and_without_background_are_compared_by_class(
    model: Path, tmp_path: Path, names: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = ForeignNet((32, 32), np.uint8, 1 / 128, 128)
    net.output("scores", np.array([[255, 5, 9, 3]], np.uint8), 1 / 256, 0)
    other = net.write(tmp_path / "other.tflite")
    data = write(tmp_path / "set", "0001_a.png", "0000_b.png")
    command = ["evaluate", str(model), "--data", str(data), "--labels", str(names), "--reference", str(other)]
    assert main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["top1"], facts["reference"]["top1"], facts["agreement_top1"]) == (50, 50, 100)
