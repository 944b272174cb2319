"""COCO's json labels, against pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from convert.data import read_dataset, report
from convert.data.json_lines import read_lists
from runtime.errors import InputError
from tests.convert.annotated import NAMES, PHOTOS, SIZE, Coco, coco_of, write_coco, write_picture
from tests.convert.test_voc import mutated


def test_same_boxes_as_pycocotools(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    made = Coco(categories=[{"id": number, "name": f"class{number}"} for number in (9, 2, 40)])
    for number in (7, 3, 5):
        made.images.append({"id": number, "file_name": f"{number}.png", "width": SIZE[0], "height": SIZE[1]})
        write_picture(tmp_path / "images" / f"{number}.png")
    for number in range(60):
        x, y = random.uniform(0, 40, 2)
        box = [float(x), float(y), *map(float, random.uniform(1, 10, 2))]
        image, category = int(random.choice([3, 5, 7])), int(random.choice([2, 9, 40]))
        row = {"id": number + 1, "image_id": image, "category_id": category, "bbox": box}
        made.annotations.append({**row, "iscrowd": int(number % 7 == 0)})
    (tmp_path / "annotations.json").write_text(made.text())
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(tmp_path / "annotations.json"))
    dataset = read_dataset(tmp_path, strict=True)
    categories = theirs.loadCats(sorted(theirs.getCatIds()))
    assert dataset.names == tuple(category["name"] for category in categories)
    assert dataset.crowds == 9
    for truth in dataset.truths:
        rows = theirs.loadAnns(theirs.getAnnIds(imgIds=[int(truth.path.stem)], iscrowd=False))
        expected = np.array([[x, y, x + w, y + h] for x, y, w, h in (row["bbox"] for row in rows)])
        np.testing.assert_allclose(truth.boxes * np.array([*SIZE, *SIZE]), expected, atol=1e-4)
        names = [theirs.loadCats(row["category_id"])[0]["name"] for row in rows]
        assert [dataset.names[number] for number in truth.class_ids] == names


Change = Callable[[Coco], None]


def alter(coco: Coco, key: str, index: int, **changes: object) -> None:
    getattr(coco, key)[index].update(changes)


# Annotation 1 of picture a is in line 12, of picture b in line 14; pictures in lines 7 to 9.
@pytest.mark.parametrize(
    ("change", "where", "kind", "used"),
    [
        (lambda c: alter(c, "annotations", 2, bbox=None), 14, "malformed: annotation 23 has bbox None", "ac"),
        (lambda c: alter(c, "annotations", 2, bbox=[1, 2, 3]), 14, "malformed: annotation 23", "ac"),
        (lambda c: alter(c, "annotations", 2, bbox=[1, 2, 3, "4"]), 14, "malformed: annotation 23", "ac"),
        (lambda c: alter(c, "annotations", 2, bbox=[1, 2, float("nan"), 4]), 14, "degenerate box", "ac"),
        (lambda c: alter(c, "annotations", 2, bbox=[1, 2, 10**400, 4]), 14, "malformed: annotation 23", "ac"),
        (lambda c: alter(c, "annotations", 2, bbox=[1, 2, -3, 4]), 14, "degenerate box", "ac"),
        (lambda c: alter(c, "annotations", 2, category_id="robin"), 14, "unknown class: annotation 23 has", "ac"),
        (lambda c: alter(c, "annotations", 2, image_id=99), 14, "no image: annotation of image 99", "abc"),
        (lambda c: c.annotations.insert(2, 5), 14, "malformed: 5 in annotations", "abc"),
        (lambda c: c.images.append([]), 10, "malformed: [] in images", "abc"),
        (lambda c: c.images.append({"id": True}), 10, "malformed: image {'id': True}", "abc"),
        (lambda c: alter(c, "images", 1, file_name="../b.png/../../x.png"), 8, "no image", "ac"),
        (lambda c: alter(c, "images", 1, file_name="/etc/passwd"), 8, "no image: no picture /etc/passwd", "ac"),
        (lambda c: c.images.append(dict(c.images[1], id=77)), 10, "duplicate label: image 77, b.png", "ac"),
        (lambda c: c.categories.append({"id": 3, "name": "x"}), 5, "duplicate label: category 3", "abc"),
        (lambda c: c.categories.append({"id": 4}), 5, "malformed: category {'id': 4}", "abc"),
    ],
)
def test_wrong_record_is_named(change: Change, where: int, kind: str, used: str, tmp_path: Path) -> None:
    folder = write_coco(tmp_path, PHOTOS)
    coco = coco_of(PHOTOS)
    change(coco)
    (folder / "annotations.json").write_text(coco.text())
    dataset = read_dataset(folder)
    assert f"{folder}/annotations.json:{where}: {kind}" in report(dataset)
    assert "".join(truth.path.stem for truth in dataset.truths) == used
    with pytest.raises(InputError, match="is refused"):
        read_dataset(folder, strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"annotations\.json is empty"),
        ("[]", r"annotations\.json:1: malformed: Expecting '{'"),
        ('{"images": [\n{},\n{"a" 1}]}', r"annotations\.json:3: malformed: Expecting ':'"),
        ('{"images": [1, 2', r"annotations\.json:1: malformed"),
        ('{"images": []}\n}', r"annotations\.json:2: malformed: Extra data"),
        ("{5: 6}", r":1: malformed: Expecting a name"),
        ("{}", r"has no list of images"),
        ('{"images": [{}], "annotations": [], "categories": [{}]}', r"has no list of annotations"),
        ('{"images": [{}], "annotations": [{}], "categories": [{}]}', r"names no picture that is there"),
        ('{"images": ' + "[" * 200_000, r"is nested too deep"),
        ('{"images": [' + "9" * 5000 + "]}", r"thousands of digits"),
        (b"\xff\xfe\x00", r"is not text"),
    ],
)
def test_broken_file(text: str | bytes, message: str, tmp_path: Path) -> None:
    write_coco(tmp_path, PHOTOS)
    (tmp_path / "annotations.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("_annotations.coco.json", "."),
        ("instances_val2017.json", "val2017"),
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/labels.json", "images"),
    ],
)
def test_layouts(name: str, place: str, tmp_path: Path) -> None:
    write_coco(tmp_path, PHOTOS, name)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for photo in PHOTOS:
        (tmp_path / "images" / f"{photo.stem}.png").replace(tmp_path / place / f"{photo.stem}.png")
    assert len(read_dataset(tmp_path, strict=True).truths) == 3


def test_several_files_are_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, PHOTOS, "instances_train.json")
    write_coco(tmp_path, PHOTOS, "instances_val.json")
    with pytest.raises(InputError, match=r"has 2 annotation files, instances_train\.json and "):
        read_dataset(tmp_path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | mutated(coco_of(PHOTOS).text().encode()))
def test_any_bytes(data: bytes, tmp_path: Path) -> None:
    if not (tmp_path / "images").exists():
        write_coco(tmp_path, PHOTOS)
    (tmp_path / "annotations.json").write_bytes(data)
    with contextlib.suppress(InputError):
        for truth in read_dataset(tmp_path, labels=NAMES).truths:
            assert ((truth.boxes >= 0) & (truth.boxes <= 1)).all()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.dictionaries(st.text(max_size=4), JSON, max_size=4), indent=st.sampled_from([None, 0, 2]))
def test_lists_are_those_of_the_json_module(value: dict[str, object], indent: int | None, tmp_path: Path) -> None:
    text = json.dumps(value, indent=indent)
    (tmp_path / "a.json").write_text(text)
    found = read_lists(tmp_path / "a.json")
    expected = {key: item for key, item in value.items() if isinstance(item, list)}
    assert repr({key: [item.value for item in items] for key, items in found.items()}) == repr(expected)
    for items in found.values():
        assert all(1 <= item.line <= text.count("\n") + 1 for item in items)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(JSON, min_size=1, max_size=4), key=st.sampled_from(["images", "annotations", "categories"]))
def test_any_records(rows: list[object], key: str, tmp_path: Path) -> None:
    if not (tmp_path / "images").exists():
        write_coco(tmp_path, PHOTOS)
    coco = coco_of(PHOTOS)
    getattr(coco, key)[1:1] = rows
    (tmp_path / "annotations.json").write_text(coco.text())
    assert read_dataset(tmp_path).problems
