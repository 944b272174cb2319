"""YOLO's text labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.data import read_dataset
from runtime.errors import InputError
from tests.conftest import needs_shared, picture


def make(folder: Path, labels: dict[str, str | None], names: str | None = "wren\nrobin\n", flat: bool = False) -> Path:
    """A data set; label ``None`` means no file."""
    images, texts = (folder, folder) if flat else (folder / "images", folder / "labels")
    images.mkdir(parents=True, exist_ok=True)
    texts.mkdir(exist_ok=True)
    for name, text in labels.items():
        cv2.imwrite(str(images / f"{name}.png"), picture(1, 40, 30))
        if text is not None:
            (texts / f"{name}.txt").write_text(text)
    if names is not None:
        (folder / "classes.txt").write_text(names)
    return folder


@pytest.mark.parametrize("flat", [False, True])
def test_boxes_and_names(flat: bool, tmp_path: Path) -> None:
    labels = {"a": "0 0.5 0.5 0.2 0.4\n1 0.1 0.9 0.2 0.2\n", "b": "", "c": None}
    dataset = read_dataset(make(tmp_path / "set" / "val", labels, flat=flat))
    assert dataset.name == "set/val"
    assert dataset.names == ("wren", "robin")
    assert [truth.path.stem for truth in dataset.truths] == ["a", "b", "c"]
    np.testing.assert_allclose(dataset.truths[0].boxes, [[0.4, 0.3, 0.6, 0.7], [0.0, 0.8, 0.2, 1.0]], atol=1e-6)
    assert dataset.truths[0].class_ids.tolist() == [0, 1]
    assert dataset.truths[1].boxes.shape == (0, 4)
    assert dataset.unlabelled == 1


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("0 0.5 0.5 0.2\n", ":1", "malformed: '0 0.5 0.5 0.2', expected class x y width height"),
        ("0 0.5 0.5 0.2 0.2\nbird 0.5 0.5 0.2 0.2\n", ":2", "malformed: 'bird"),
        ("0 0.5 0.5 0.2 0.2 0.3 0.3\n", ":1", "malformed"),
        ("-1 0.5 0.5 0.2 0.2\n", ":1", "unknown class: '-1"),
        ("7 0.5 0.5 0.2 0.2\n", ":1", "unknown class: '7 0.5 0.5 0.2 0.2'; the data set names 2 classes"),
        ("0 0.95 0.5 0.2 0.2\n", ":1", "box outside: 0.85,0.4 to 1.05,0.6 in a picture of 40x30"),
        ("\n0 nan 0.5 0.2 0.2\n", ":2", "degenerate box"),
        ("0 0.5 0.5 0 0.2\n", ":1", "degenerate box"),
        ("\x00\xff", ":1", "malformed"),
        (b"\xff\xfe", "", "malformed: is not text"),
    ],
)
def test_wrong_line_is_named(text: str | bytes, where: str, message: str, tmp_path: Path) -> None:
    folder = make(tmp_path, {"a": "", "b": ""})
    (folder / "labels" / "a.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    dataset = read_dataset(folder)
    assert [truth.path.stem for truth in dataset.truths] == ["b"]
    assert dataset.skipped == len(dataset.problems) == 1
    assert f"{folder}/labels/a.txt{where}: {message}" in str(dataset.problems[0])
    with pytest.raises(InputError, match=rf"1 problem \(1 [\w ]+\), first .*a\.txt{where}: "):
        read_dataset(folder, strict=True)


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_dataset(tmp_path / "missing")
    (tmp_path / "plain").mkdir()
    cv2.imwrite(str(tmp_path / "plain" / "a.png"), picture(1, 40, 30))
    (tmp_path / "plain" / "readme.txt").write_text("hello")
    with pytest.raises(InputError, match="no annotations in a known layout"):
        read_dataset(tmp_path / "plain")
    with pytest.raises(InputError, match="no label for any"):
        read_dataset(make(tmp_path / "unlabelled", {"a": None, "b": None}))


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    dataset = read_dataset(make(tmp_path, {"a": "0 0.5 0.5 0.2 0.2\n"}, "robin\nowl\n"))
    assert dataset.class_map(("wren", "robin")).tolist() == [1, -1]
    with pytest.raises(InputError, match="has classes robin, owl; the model knows cat"):
        dataset.class_map(("cat",))
    nameless = read_dataset(make(tmp_path / "n", {"a": "3 0.5 0.5 0.2 0.2\n"}, None))
    assert nameless.class_map(("a", "b", "c", "d")).tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match="uses class 3 and has no names file"):
        nameless.class_map(("a", "b"))


@needs_shared
def test_real_data_set(shared: Path) -> None:
    dataset = read_dataset(shared / "data" / "coco-sample" / "val")
    assert (len(dataset.truths), len(dataset.names), dataset.unlabelled) == (64, 80, 0)
    assert sum(len(truth.boxes) for truth in dataset.truths) > 300
