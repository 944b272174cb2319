"""Pascal VOC's xml labels: what is wrong with a file is told by line, whatever is in it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.data import read_dataset, report
from convert.data.xml_lines import MAX_BYTES, XmlError, read_xml
from runtime.errors import InputError
from tests.convert.annotated import NAMES, PHOTOS, write_picture, write_voc, xml_text

GOOD = xml_text(PHOTOS[1])
# Eight levels of ten: a billion letters, were it expanded; refused in its second line, before any entity.
BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE bomb [\n<!ENTITY a "aaaaaaaaaa">\n'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">\n' for old, new in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>\n<annotation>&i;</annotation>"
)
OUTER = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<annotation><object><name>&x;</name></object></annotation>'
)


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("", "", "malformed: is empty (0 bytes)"),
        ("hello", ":1", "malformed: "),
        (GOOD[:-5], ":12", "malformed: "),
        (GOOD.replace("</bndbox>", ""), ":11", "malformed: mismatched tag"),
        ("<html>\n</html>", ":1", "malformed: <html>, expected <annotation>"),
        (GOOD.replace("<xmin>", "<xmax>").replace("</xmin>", "</xmax>"), ":4", "malformed: <object> without four"),
        (GOOD.replace("<xmin>0.0", "<xmin>left"), ":4", "malformed: <object> without four numbers in <bndbox>"),
        (GOOD.replace("<name>robin</name>", ""), ":4", "malformed: <object> without <name>"),
        (GOOD.replace("<width>60", "<width>wide"), ":3", "malformed: <size> without numbers"),
        (GOOD.replace("<xmin>0.0", "<xmin>nan"), ":4", "degenerate box"),
        (GOOD.replace("<xmax>12.0", "<xmax>inf"), ":4", "degenerate box"),
        (GOOD.replace("<xmax>12.0", "<xmax>1e300"), ":4", "box outside"),
        ('<?xml version="1.0" encoding="nothing"?>\n' + GOOD, ":1", "malformed: unknown encoding"),
        ("<a>" * 5000, ":1", "malformed: elements are nested too deep"),
        (BOMB, ":2", "malformed: has a DOCTYPE"),
        (OUTER, ":1", "malformed: has a DOCTYPE"),
    ],
)
def test_broken_file_is_named(text: str, where: str, message: str, tmp_path: Path) -> None:
    folder = write_voc(tmp_path, PHOTOS)
    (folder / "b.xml").write_text(text)
    dataset = read_dataset(folder)
    assert [truth.path.stem for truth in dataset.truths] == ["a", "c"]
    assert f"{folder}/b.xml{where}: {message}" in report(dataset)
    with pytest.raises(InputError, match=rf"1 problem \(.*\), first .*b\.xml{where}: "):
        read_dataset(folder, strict=True)


def test_too_large(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, PHOTOS)
    with (folder / "b.xml").open("ab") as stream:
        stream.truncate(MAX_BYTES + 1)
    assert f"b.xml: malformed: has {MAX_BYTES + 1} bytes" in report(read_dataset(folder))


def test_parts_and_other_encodings(tmp_path: Path) -> None:
    """A person's <part> has a name and a box of its own, which are not the object's."""
    folder = write_voc(tmp_path, PHOTOS)
    part = "<part><name>beak</name><bndbox><xmin>1</xmin></bndbox></part>\n<name>"
    text = GOOD.replace("<name>", part).replace("robin", "kärlein")
    (folder / "b.xml").write_bytes(f'<?xml version="1.0" encoding="iso-8859-1"?>\n{text}'.encode("latin-1"))
    dataset = read_dataset(folder, strict=True)
    assert dataset.names == ("kärlein", "robin", "wren")
    assert [len(truth.boxes) for truth in dataset.truths] == [2, 1, 1]


@pytest.mark.parametrize("filename", [".", "..", "C:\\cards\\.", "cards/"])
def test_filename_that_names_no_file(filename: str, tmp_path: Path) -> None:
    """The picture has the label's own name, so nothing is lost."""
    folder = write_voc(tmp_path, PHOTOS)
    (folder / "b.xml").write_text(xml_text(PHOTOS[1], filename))
    assert [truth.path.stem for truth in read_dataset(folder, strict=True).truths] == ["a", "b", "c"]


@pytest.mark.parametrize("filename", ["photo.png", "C:\\cards\\photo.png", "/home/me/photo.png"])
def test_renamed_label_is_found_by_filename(filename: str, tmp_path: Path) -> None:
    folder = write_voc(tmp_path, PHOTOS)
    write_picture(folder / "photo.png")
    (folder / "x.xml").write_text(xml_text(PHOTOS[0], filename))
    assert [truth.path.stem for truth in read_dataset(folder, strict=True).truths] == ["a", "b", "c", "photo"]
    (folder / "y.xml").write_text(xml_text(PHOTOS[0], filename))
    assert f"{folder}/y.xml: duplicate label: photo.png has x.xml" in report(read_dataset(folder))


def test_same_stem_twice(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, PHOTOS)
    write_picture(folder / "b.bmp")
    (folder / "b.xml").write_text(xml_text(PHOTOS[1], "b.png"))
    dataset = read_dataset(folder)
    assert [truth.path.name for truth in dataset.truths] == ["a.png", "b.png", "c.png"]
    assert f"{folder}/b.bmp: no label: no b.xml" in report(dataset)


def test_classes_file_decides(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, PHOTOS)
    (folder / "classes.txt").write_text("wren\nrobin\n")
    assert read_dataset(folder).names == ("wren", "robin")
    (folder / "classes.txt").write_text("wren\n")
    dataset = read_dataset(folder)
    assert f"{folder}/b.xml:4: unknown class: 'robin' is not among the 1 classes" in report(dataset)
    assert [truth.path.stem for truth in dataset.truths] == ["c"]


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 12))] = draw(st.binary(max_size=8) | st.sampled_from([b"<", b"-", b"9e9"]))
    return bytes(data)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | mutated(GOOD.encode()))
def test_any_bytes(data: bytes, tmp_path: Path) -> None:
    if not (tmp_path / "a.xml").exists():
        write_voc(tmp_path, PHOTOS)
    (tmp_path / "b.xml").write_bytes(data)
    with contextlib.suppress(XmlError):
        read_xml(tmp_path / "b.xml")
    dataset = read_dataset(tmp_path, labels=NAMES)
    assert 2 <= len(dataset.truths) <= 3
    assert len(dataset.truths) == 3 or dataset.problems
    for truth in dataset.truths:
        assert ((truth.boxes >= 0) & (truth.boxes <= 1)).all()
        assert (truth.boxes[:, 2:] > truth.boxes[:, :2]).all()
