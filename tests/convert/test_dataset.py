"""Annotated folders: the formats agree, and what is wrong is named and left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from convert.cli import main
from convert.data import Dataset, Problem, is_plain, read_dataset, report, summary
from convert.data.report import uncounted
from runtime.errors import InputError
from tests.conftest import needs_shared, picture
from tests.convert.annotated import NAMES, PHOTOS, WRITERS, Photo, change, write_coco, write_voc, write_yolo


def assert_same(left: Dataset, right: Dataset) -> None:
    assert left.names == right.names
    assert [truth.path.stem for truth in left.truths] == [truth.path.stem for truth in right.truths]
    for one, other in zip(left.truths, right.truths, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-6)
        assert one.class_ids.tolist() == other.class_ids.tolist()


def test_three_formats_one_truth(tmp_path: Path) -> None:
    read = [
        read_dataset(write_yolo(tmp_path / "yolo", PHOTOS), strict=True),
        read_dataset(write_voc(tmp_path / "voc", PHOTOS), strict=True),
        read_dataset(write_voc(tmp_path / "split", PHOTOS, split=True), strict=True),
        read_dataset(write_coco(tmp_path / "coco", PHOTOS), strict=True),
        read_dataset(write_coco(tmp_path / "nested", PHOTOS, "annotations/instances_val.json"), strict=True),
    ]
    assert read[0].names == NAMES
    np.testing.assert_allclose(read[0].truths[0].boxes, [[0.1, 0.1, 0.5, 0.5], [0.5, 0.2, 1, 1]], atol=1e-6)
    assert read[0].truths[0].class_ids.tolist() == [1, 0]
    for other in read[1:]:
        assert_same(read[0], other)
        assert report(other) == ""


# What is changed in picture b, and for each format the file and line that must be named, the kind and a part of the
# detail. "-" as detail: the picture is used all the same.
IMAGE = {"coco": "images/b.png", "voc": "b.png", "yolo": "images/b.png"}
WRONG: list[tuple[str, dict[str, Any], dict[str, str], str, str]] = [
    (
        "outside",
        {"objects": (("robin", (40.0, 10.0, 62.0, 30.0)),)},
        {"coco": "annotations.json:14", "voc": "b.xml:4", "yolo": "labels/b.txt:1"},
        "box outside",
        "in a picture of 60x50",
    ),
    (
        "second object",
        {"objects": (("robin", (4.0, 1.0, 6.0, 3.0)), ("wren", (-2.0, 1.0, 6.0, 3.0)))},
        {"coco": "annotations.json:15", "voc": "b.xml:12", "yolo": "labels/b.txt:2"},
        "box outside",
        "to",
    ),
    (
        "degenerate",
        {"objects": (("robin", (40.0, 10.0, 40.0, 30.0)),)},
        {"coco": "annotations.json:14", "voc": "b.xml:4", "yolo": "labels/b.txt:1"},
        "degenerate box",
        "has no area",
    ),
    (
        "unknown class",
        {"objects": (("owl", (4.0, 1.0, 6.0, 3.0)),)},
        {"coco": "annotations.json:14", "voc": "b.xml:4", "yolo": "labels/b.txt:1"},
        "unknown class",
        "2",
    ),
    ("other size", {"stated": (61, 50)}, {"coco": "annotations.json:8", "voc": "b.xml:3"}, "other size", "says 61x50"),
    ("turned", {"stated": (50, 60)}, {"coco": "annotations.json:8", "voc": "b.xml:3"}, "rotated by EXIF", "is 60x50"),
    ("no size", {"stated": (0, 0)}, {"coco": "annotations.json:8", "voc": "b.xml:3"}, "no size", "-"),
    ("no label", {"label": False}, {"coco": IMAGE["coco"], "voc": IMAGE["voc"]}, "no label", "b"),
    ("no label", {"label": False}, {"yolo": IMAGE["yolo"]}, "no label", "-"),
    ("no image", {"image": False}, {"coco": "annotations.json:8", "voc": "b.xml"}, "no image", "b"),
    ("no objects", {"objects": ()}, {"voc": "b.xml:1"}, "no objects", "<object>"),
]
ROWS = [
    pytest.param(form, changes, where, kind, detail, id=f"{what}-{form}")
    for what, changes, places, kind, detail in WRONG
    for form, where in places.items()
]


@pytest.mark.parametrize(("form", "changes", "where", "kind", "detail"), ROWS)
def test_problem_is_named_and_left_out(
    form: str, changes: dict[str, Any], where: str, kind: str, detail: str, tmp_path: Path
) -> None:
    folder = WRITERS[form](tmp_path / "set", change(PHOTOS, "b", **changes))
    labels = NAMES if kind == "unknown class" else None
    dataset = read_dataset(folder, labels=labels)
    kept = detail == "-"
    used = "abc" if kept else "ac"
    assert [truth.path.stem for truth in dataset.truths] == list(used)
    assert dataset.skipped == (0 if kept or kind == "no image" else 1)
    text = report(dataset)
    assert f"{folder}/{where}: {kind}: " in text
    assert detail in text
    assert f"1 {kind}" in text.splitlines()[-1]
    assert ("used all the same" in text) == kept
    with pytest.raises(InputError) as caught:
        read_dataset(folder, strict=True, labels=labels)
    assert f"1 problem (1 {kind}), first {folder}/{where}: {kind}: " in caught.value.line()


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "text": b"no picture " * 50}[how])


@pytest.mark.parametrize("how", ["empty", "cut", "text"])
@pytest.mark.parametrize("form", sorted(WRITERS))
def test_broken_image(form: str, how: str, tmp_path: Path) -> None:
    folder = WRITERS[form](tmp_path / "set", PHOTOS)
    spoil(folder / IMAGE[form], how)
    dataset = read_dataset(folder)
    assert [truth.path.stem for truth in dataset.truths] == ["a", "c"]
    assert f"{folder}/{IMAGE[form]}: broken image: is " in report(dataset)
    assert dataset.skipped == 1
    with pytest.raises(InputError, match=r"1 problem \(1 broken image\), first .*b\.png: "):
        read_dataset(folder, strict=True)


def test_cut_jpeg_is_broken(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, PHOTOS)
    image = folder / "b.png"
    cv2.imwrite(str(folder / "b.jpg"), picture(1, 60, 50))
    image.unlink()
    assert read_dataset(folder).problems == ()
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:-2])
    assert [problem.kind for problem in read_dataset(folder).problems] == ["broken image"]


def test_jpeg_turned_by_exif(tmp_path: Path) -> None:
    """A camera's portrait: stored lying, shown upright; boxes drawn on the lying one must not be used."""
    folder = write_voc(tmp_path, PHOTOS)
    cv2.imwrite(str(folder / "b.jpg"), picture(1, 60, 50))
    (folder / "b.png").unlink()
    data = (folder / "b.jpg").read_bytes()
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    app1 = b"\xff\xe1" + (8 + len(tiff)).to_bytes(2, "big") + b"Exif\x00\x00" + tiff
    (folder / "b.jpg").write_bytes(data[:2] + app1 + data[2:])
    problems = read_dataset(folder).problems
    assert [problem.kind for problem in problems] == ["rotated by EXIF"]
    assert problems[0].detail == "the label says 60x50, the upright picture is 50x60"


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_rounding_is_clipped(form: str, tmp_path: Path) -> None:
    objects = (("wren", (-1.0, -1.0, 61.0, 51.0)),)
    dataset = read_dataset(WRITERS[form](tmp_path, change(PHOTOS, "b", objects=objects)), strict=True, labels=NAMES)
    np.testing.assert_allclose(dataset.truths[1].boxes, [[0, 0, 1, 1]], atol=1e-6)


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_nothing_left(form: str, tmp_path: Path) -> None:
    folder = WRITERS[form](tmp_path, (Photo("a", (("wren", (50.0, 0.0, 90.0, 10.0)),)),))
    with pytest.raises(InputError, match=r"has 1 images and none can be used: 1 problem \(1 box outside\), first"):
        read_dataset(folder)


@pytest.mark.parametrize(("form", "other"), [("coco", "voc"), ("coco", "yolo")])
def test_two_formats_are_refused(form: str, other: str, tmp_path: Path) -> None:
    WRITERS[form](tmp_path, PHOTOS)
    WRITERS[other](tmp_path, PHOTOS)
    with pytest.raises(InputError, match="has labels of COCO and "):
        read_dataset(tmp_path)


def test_expected_labels_decide_order(tmp_path: Path) -> None:
    labels = ("owl", "wren", "robin")
    for form, write in WRITERS.items():
        dataset = read_dataset(write(tmp_path / form, PHOTOS), strict=True, labels=labels)
        assert dataset.names == labels
        assert dataset.truths[0].class_ids.tolist() == [1, 2]


YAMLS = [
    ("data.yaml", "names: [robin, wren]\nnc: 2\n"),
    ("../data.yaml", "train: images/train\nnames:\n  0: robin\n  1: wren\n"),
    ("../../dataset.yml", "names: ['robin', 'wren']"),
]


@pytest.mark.parametrize(("place", "text"), YAMLS)
def test_names_of_a_data_yaml(place: str, text: str, tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "set" / "train", PHOTOS)
    expected = read_dataset(folder)
    (folder / "classes.txt").unlink()
    (folder / place).resolve().write_text(text)
    assert_same(read_dataset(folder, strict=True), expected)


def test_split_below_images_has_its_labels_below_labels(tmp_path: Path) -> None:
    whole = write_yolo(tmp_path / "whole", PHOTOS)
    for kind in ("images", "labels"):
        shutil.copytree(whole / kind, tmp_path / "set" / kind / "val")
    (tmp_path / "set" / "data.yaml").write_text("names: [robin, wren]")
    assert not is_plain(tmp_path / "set" / "images" / "val")
    assert_same(read_dataset(tmp_path / "set" / "images" / "val", strict=True), read_dataset(whole))


BAD_NAMES = [
    ({"data.yaml": "names: [wren"}, "data.yaml is not YAML"),
    ({"data.yaml": "names: 2"}, "has other names than a list"),
    ({"data.yaml": "names: {0: wren, 2: robin}"}, "has other names than a list"),
    ({"data.yaml": "names: [[wren]]"}, "has other names than a list"),
    ({"data.yaml": "a: " + "[" * 5000}, "data.yaml is not YAML"),
    ({"a.names": "wren\n", "b.names": "robin\n"}, "a.names and b.names"),
]


@pytest.mark.parametrize(("files", "message"), BAD_NAMES)
def test_names_that_cannot_be_told(files: dict[str, str], message: str, tmp_path: Path) -> None:
    folder = write_yolo(tmp_path, PHOTOS)
    (folder / "classes.txt").unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(folder)


def test_background_is_counted_not_a_problem(tmp_path: Path) -> None:
    for form in ("yolo", "coco"):
        folder = WRITERS[form](tmp_path / form, change(PHOTOS, "b", objects=()))
        dataset = read_dataset(folder, strict=True)
        assert (dataset.background, dataset.unlabelled, len(dataset.truths)) == (1, 0, 3)
        assert report(dataset).endswith("3 of 3 images used, 0 skipped; 1 without objects (background)")


def test_report_is_limited() -> None:
    problems = [Problem(Path(f"{n:02}.xml"), n, "box outside", "far") for n in range(1, 31)]
    problems.insert(0, Problem(Path("0.xml"), 0, "no size", "none", kept=True))
    lines = report(Dataset("d", (), NAMES, problems=tuple(problems), skipped=30)).splitlines()
    assert lines[0] == "01.xml:1: box outside: far"
    assert lines[20] == "... and 11 more"
    assert lines[21] == "d: 0 of 30 images used, 30 skipped; 30 box outside; used all the same: 1 no size"
    assert len(lines) == 22
    assert summary(Dataset("d", (), NAMES, crowds=2)) == (
        "d: 0 of 0 images used, 0 skipped; 2 crowd annotations ignored"
    )


def test_objects_the_model_cannot_know_are_told(tmp_path: Path) -> None:
    dataset = read_dataset(write_voc(tmp_path, PHOTOS))
    assert uncounted(dataset, NAMES) == ""
    assert "2 objects of 1 classes the model lacks do not count: robin (2)" in uncounted(dataset, ("wren", "owl"))


def test_numbers_of_a_model_without_names_mean_nothing() -> None:
    numbered = Dataset("d", (), ())
    assert uncounted(numbered, ()) == ""
    assert uncounted(numbered, NAMES) == "d: no class names; its numbers are taken for the model's: 0 is robin, .."


def test_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_dataset(write_voc(tmp_path, PHOTOS), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_evaluate_tells_what_it_left_out(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = (("robin", (40.0, 10.0, 62.0, 30.0)),)
    folder = write_voc(tmp_path / "set", change(change(PHOTOS, "b", objects=objects), "c", label=False))
    assert main(["evaluate", str(tiny_model), "--data", str(folder), "--json"]) == 0
    output = capsys.readouterr()
    facts = json.loads(output.out)
    assert (facts["images"], facts["skipped_images"], facts["unlabelled_images"]) == (1, 2, 0)
    assert output.err.splitlines() == [
        f"{folder}/b.xml:4: box outside: 40,10 to 62,30 in a picture of 60x50",
        f"{folder}/c.png: no label: no c.xml",
        f"{tmp_path.name}/set: 1 of 3 images used, 2 skipped; 1 box outside, 1 no label",
    ]


@needs_shared
@pytest.mark.parametrize(
    ("place", "images", "objects", "names", "kinds"),
    [
        ("cards/train", 296, 527, "ace jack king nine queen ten", {}),
        ("cards/test", 34, 75, "ace jack king nine queen ten", {}),
        ("fruit/train", 240, 465, "apple banana orange", {"no size": 33}),
        ("fruit/test", 30, 60, "apple banana orange", {"no size": 2}),
    ],
)
def test_real_folders(place: str, images: int, objects: int, names: str, kinds: dict[str, int], shared: Path) -> None:
    dataset = read_dataset(shared / "data" / place)
    assert (len(dataset.truths), dataset.skipped) == (images, 0)
    assert sum(len(truth.boxes) for truth in dataset.truths) == objects
    assert dataset.names == tuple(names.split())
    assert {kind: sum(p.kind == kind for p in dataset.problems) for kind in {p.kind for p in dataset.problems}} == kinds
