"""Writers of annotated folders in all three formats, and of the things that can be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from tests.conftest import picture

NAMES = ("robin", "wren")
SIZE = (60, 50)

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Photo:
    """One picture and its objects: (class name, x1, y1, x2, y2 in pixels)."""

    stem: str
    objects: tuple[tuple[str, Box], ...] = (("wren", (6.0, 5.0, 30.0, 25.0)),)
    stated: tuple[int, int] = SIZE
    label: bool = True
    image: bool = True


PHOTOS = (
    Photo("a", (("wren", (6.0, 5.0, 30.0, 25.0)), ("robin", (30.0, 10.0, 60.0, 50.0)))),
    Photo("b", (("robin", (0.0, 0.0, 12.0, 10.0)),)),
    Photo("c"),
)


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture(1, *SIZE))


def write_yolo(folder: Path, photos: tuple[Photo, ...]) -> Path:
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    for photo in photos:
        if photo.image:
            write_picture(folder / "images" / f"{photo.stem}.png")
        if photo.label:
            lines = [_yolo_line(name, box) for name, box in photo.objects]
            (folder / "labels" / f"{photo.stem}.txt").write_text("".join(lines))
    return folder


def _yolo_line(name: str, box: Box) -> str:
    number = NAMES.index(name) if name in NAMES else 7
    (x1, y1, x2, y2), (w, h) = box, SIZE
    return f"{number} {(x1 + x2) / 2 / w} {(y1 + y2) / 2 / h} {(x2 - x1) / w} {(y2 - y1) / h}\n"


def xml_text(photo: Photo, filename: str = "wrong.jpg") -> str:
    """Objects start in line 4, eight lines each."""
    lines = ["<annotation>", f"<filename>{filename}</filename>"]
    lines.append(f"<size><width>{photo.stated[0]}</width><height>{photo.stated[1]}</height></size>")
    for name, (x1, y1, x2, y2) in photo.objects:
        lines += ["<object>", f"<name>{name}</name>", "<bndbox>"]
        lines += [f"<xmin>{x1}</xmin><ymin>{y1}</ymin>", f"<xmax>{x2}</xmax>", f"<ymax>{y2}</ymax>"]
        lines += ["</bndbox>", "</object>"]
    return "\n".join([*lines, "</annotation>"])


def write_voc(folder: Path, photos: tuple[Photo, ...], split: bool = False) -> Path:
    images, texts = (folder / "JPEGImages", folder / "Annotations") if split else (folder, folder)
    texts.mkdir(parents=True, exist_ok=True)
    for photo in photos:
        if photo.image:
            write_picture(images / f"{photo.stem}.png")
        if photo.label:
            (texts / f"{photo.stem}.xml").write_text(xml_text(photo))
    return folder


@dataclass
class Coco:
    """A COCO file before it is written; ids start at 11 for images and 21 for annotations."""

    images: list[Any] = field(default_factory=list)
    annotations: list[Any] = field(default_factory=list)
    categories: list[Any] = field(default_factory=list)

    def text(self) -> str:
        """One record per line: categories from line 3, then images, then annotations."""
        parts = []
        for key in ("categories", "images", "annotations"):
            rows = ",\n".join(json.dumps(row) for row in getattr(self, key))
            parts.append(f'"{key}": [\n{rows}\n]')
        return "{\n" + ",\n".join(parts) + "\n}\n"


def coco_of(photos: tuple[Photo, ...]) -> Coco:
    made = Coco(categories=[{"id": 3 + 2 * number, "name": name} for number, name in enumerate(NAMES)])
    for number, photo in enumerate(photos, start=11):
        if not photo.label:
            continue
        width, height = photo.stated
        made.images.append({"id": number, "file_name": f"{photo.stem}.png", "width": width, "height": height})
        for name, (x1, y1, x2, y2) in photo.objects:
            category = 3 + 2 * NAMES.index(name) if name in NAMES else 99
            row = {"id": 21 + len(made.annotations), "image_id": number, "category_id": category}
            made.annotations.append({**row, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0})
    return made


def write_coco(folder: Path, photos: tuple[Photo, ...], name: str = "annotations.json") -> Path:
    for photo in photos:
        if photo.image:
            write_picture(folder / "images" / f"{photo.stem}.png")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(coco_of(photos).text())
    return folder


Writer = Callable[[Path, tuple[Photo, ...]], Path]
WRITERS: dict[str, Writer] = {
    "coco": write_coco,
    "voc": write_voc,
    "yolo": write_yolo,
}


def change(photos: tuple[Photo, ...], stem: str, **changes: Any) -> tuple[Photo, ...]:
    """The same pictures, one of them changed."""
    return tuple(replace(photo, **changes) if photo.stem == stem else photo for photo in photos)
