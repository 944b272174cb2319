"""Pascal VOC's xml labels: beside each picture, or ``Annotations/NAME.xml`` for ``JPEGImages/NAME.jpg``.

Everingham et al., "The Pascal Visual Object Classes Challenge", number pixels from 1 and include the last; most
labelling tools count from 0. Corners are taken as they stand, which is at most a pixel off. ``difficult`` objects are
kept and marked. ``<filename>`` is often wrong after renaming, so the picture with the xml's own name comes first.
Class names are those of ``classes.txt`` in the folder or, without one, all that occur, sorted.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from convert.data.dataset import Problem
from convert.data.entries import (
    DUPLICATE,
    MALFORMED,
    NO_IMAGE,
    NO_LABEL,
    NO_OBJECTS,
    Box,
    Entries,
    Entry,
    Object,
    shown,
)
from convert.data.xml_lines import Element, XmlError, read_xml
from runtime.errors import InputError
from runtime.files import read_names
from runtime.sources.images import list_images

_LABEL_FOLDERS = ("Annotations", "annotations", "labels")
_IMAGE_FOLDERS = ("JPEGImages", "images")


def is_voc(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(_list_xml(_label_folder(folder)))


def read_voc(folder: Path, labels: tuple[str, ...] | None = None) -> Entries:
    """Reads a folder of pictures with Pascal VOC labels.

    Args:
        folder: The folder.
        labels: Class names to expect instead of the folder's.

    Raises:
        InputError: No pictures, or none with a label.
    """
    texts = _label_folder(folder)
    images = next((folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()), folder)
    pictures = list_images(images)
    finder = _Finder(texts, images, pictures)
    entries: dict[Path, Entry] = {}
    problems = []
    for path in _list_xml(texts):
        root, broken = _open(path)
        image = finder.find(path, root.value("filename") if root else "")
        if image is None:
            problems.append(broken or Problem(path, 0, NO_IMAGE, f"no picture of the name {shown(path.stem)}"))
        elif image in entries:
            problems.append(Problem(path, 0, DUPLICATE, f"{image.name} has {entries[image].source.name}"))
        else:
            entries[image] = _read_entry(image, path, root) if root else Entry(image, path, problems=_one(broken))
    if not entries:
        raise InputError(f"{folder} has {len(pictures)} images and no label for any", "expected NAME.xml")
    for image in pictures:
        if image not in entries:
            problem = Problem(image, 0, NO_LABEL, f"no {image.stem}.xml")
            entries[image] = Entry(image, image, problems=(problem,))
    found = tuple(entries[image] for image in pictures)
    return Entries(found, labels or _names(folder, found), tuple(problems))


def _one(problem: Problem | None) -> tuple[Problem, ...]:
    return (problem,) if problem else ()


def _label_folder(folder: Path) -> Path:
    return next((folder / name for name in _LABEL_FOLDERS if _list_xml(folder / name)), folder)


def _list_xml(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ".xml" and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _names(folder: Path, entries: tuple[Entry, ...]) -> tuple[str, ...]:
    if (folder / "classes.txt").is_file():
        return read_names(folder / "classes.txt")
    return tuple(sorted({item.label for entry in entries for item in entry.objects}))


class _Finder:
    """Finds the picture of a label file: by its own name in the same place, then by its ``<filename>``."""

    def __init__(self, texts: Path, images: Path, pictures: list[Path]) -> None:
        self._texts, self._images = texts, images
        self._by_stem: dict[Path, list[Path]] = defaultdict(list)
        for picture in pictures:
            self._by_stem[picture.with_suffix("")].append(picture)
        self._known = set(pictures)

    def find(self, label: Path, filename: str) -> Path | None:
        place = self._images / label.relative_to(self._texts)
        # Windows tools write whole paths. Joined, for with_name() refuses a dot with an error of its own.
        named = place.parent / (filename.replace("\\", "/").rpartition("/")[2] or place.name)
        same = self._by_stem.get(place.with_suffix(""), [])
        if same and named not in same:
            return same[0]
        return named if named in self._known else None


def _open(path: Path) -> tuple[Element | None, Problem | None]:
    try:
        root = read_xml(path)
    except XmlError as error:
        return None, Problem(path, error.line, MALFORMED, str(error))
    if root.tag != "annotation":
        return None, Problem(path, root.line, MALFORMED, f"<{shown(root.tag)}>, expected <annotation>")
    return root, None


def _read_entry(image: Path, path: Path, root: Element) -> Entry:
    objects: list[Object] = []
    problems: list[Problem] = []
    elements = [child for child in root.children if child.tag == "object"]
    for element in elements:
        box, name = _box(element), element.value("name")
        if box is None or not name:
            detail = "<object> without <name>" if box else "<object> without four numbers in <bndbox>"
            problems.append(Problem(path, element.line, MALFORMED, detail))
        else:
            objects.append(Object(element.line, name, box, element.value("difficult") == "1"))
    if not elements:
        problems.append(Problem(path, root.line, NO_OBJECTS, "no <object>"))
    size = root.find("size")
    stated = _size(size) if size else (0.0, 0.0)
    if size and stated is None:
        problems.append(Problem(path, size.line, MALFORMED, "<size> without numbers in <width> and <height>"))
    line = size.line if size else root.line
    return Entry(image, path, tuple(objects), size=stated, size_line=line, problems=tuple(problems))


def _box(element: Element) -> Box | None:
    box = element.find("bndbox")
    if box is None:
        return None
    try:
        return float(box.value("xmin")), float(box.value("ymin")), float(box.value("xmax")), float(box.value("ymax"))
    except ValueError:
        return None


def _size(element: Element) -> tuple[float, float] | None:
    try:
        return float(element.value("width")), float(element.value("height"))
    except ValueError:
        return None
