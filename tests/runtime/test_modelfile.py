"""Model files: good ones, foreign ones and broken ones."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.detector import Detector
from runtime.engine import Engine
from runtime.errors import EdgewrenError, InputError
from runtime.foreign.metadata import Metadata, read_metadata
from runtime.frame import Frame
from runtime.modelfile import read_card, require_card
from tests.conftest import needs_shared


def test_card_and_labels_are_plain_zip_members(tiny_model: Path) -> None:
    with zipfile.ZipFile(tiny_model) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["labels.txt", "card.json"]
        assert archive.read("labels.txt").decode().split() == ["wren", "robin", "finch"]
        data = json.loads(archive.read("card.json"))
    card = require_card(tiny_model)
    assert card.to_dict() == data
    assert card.labels.names == ("wren", "robin", "finch")


def test_finds_the_same_twice_and_as_a_context(tiny_model: Path, frame: Frame) -> None:
    with Detector.open(tiny_model, threads=1, score=0.05) as detector:
        first, second = detector.detect(frame), detector.detect(frame)
        assert len(first) > 0
        assert first.boxes.tolist() == second.boxes.tolist()
        assert (first.scores[:-1] >= first.scores[1:]).all()
        assert (first.boxes >= 0).all()
        assert (first.boxes <= [frame.width, frame.height] * 2).all()
        assert detector.detect(frame.pixels).scores.tolist() == first.scores.tolist()
    with pytest.raises(EdgewrenError, match="was closed"):
        detector.detect(frame)


@needs_shared
def test_foreign_file_has_no_card(shared: Path) -> None:
    foreign = shared / "zoo" / "ssd-mobilenet-v1-coco" / "detect.tflite"
    assert read_card(foreign) is None
    with pytest.raises(InputError, match=r"has no card\.json"):
        require_card(foreign)


def test_our_own_file_without_its_end_is_not_taken_for_a_foreign_one(tiny_model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(tiny_model.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"has no card\.json \(its end is cut off\)"):
        Detector.open(cut)


def test_every_cut_of_a_model_file_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    data = tiny_model.read_bytes()
    cut = tmp_path / "cut.tflite"
    for length in [0, 1, 7, 8, 9, 100, *range(1000, len(data), len(data) // 40), len(data) - 30, len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(InputError):
            Detector.open(cut)


def with_card(data: bytes, text: str | bytes) -> bytes:
    """The model with another card in a second archive at its end, which is the one that counts."""
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("card.json", text)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"width": 64', '"width": 128', "has shape (1, 64, 64, 3); the card says (1, 64, 128, 3)"),
        ('"name": "box_8"', '"name": "box_9"', "one 'box' tensor of shape"),
        ('"finch"', '"finch", "owl"', "one 'class' tensor of shape"),
        ('"stride": 8', '"stride": 4', "tensor of shape"),
        ('"schema_version": 1', '"schema_version": 9', "schema_version 9"),
        ('"name": "yolo"', '"name": "guess"', "asks for decoder 'guess'"),
    ],
)
def test_card_and_tensors_must_agree(old: str, new: str, message: str, tiny_model: Path, tmp_path: Path) -> None:
    text = require_card(tiny_model).to_json()
    assert old in text
    path = tmp_path / "changed.tflite"
    path.write_bytes(with_card(tiny_model.read_bytes(), text.replace(old, new)))
    with pytest.raises(InputError) as caught:
        Detector.open(path)
    assert message in str(caught.value)


def test_damaged_archive_member(tiny_model: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_model.read_bytes())
    place = data.rindex(b'"schema_version"')
    data[place : place + 4] = b"\0\0\0\0"
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be read"):
        read_card(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("member", ["card.json", "metadata.json"])
def test_damage_inside_a_compressed_member(method: int, member: str, tiny_model: Path, tmp_path: Path) -> None:
    """Other tools may compress what they add; each decompressor has errors of its own."""
    data, stream = tiny_model.read_bytes(), io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(member, require_card(tiny_model).to_json())
    packed = bytearray(stream.getvalue())
    packed[60:90] = b"\xff" * 30
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data[: data.index(b"PK\x03\x04")] + packed)
    expected = pytest.raises(InputError, match="cannot be read") if member == "card.json" else contextlib.nullcontext()
    with expected:
        assert read_card(path) is None
    assert read_metadata(path, b"") == Metadata()


def test_an_archive_that_asks_for_a_newer_zip_reader(tiny_model: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_model.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 0xF0  # version needed to extract
    path = tmp_path / "newer.tflite"
    path.write_bytes(data)
    assert read_card(path) is None


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=30))
def test_any_damage_gives_a_card_or_an_input_error(
    damage: list[tuple[int, int]], tiny_model: Path, tmp_path: Path
) -> None:
    data = bytearray(tiny_model.read_bytes())
    tail = len(data) - data.rindex(b"labels.txt", 0, len(data) - 400)
    for place, value in damage:
        data[-1 - place % tail] = value
    path = tmp_path / "fuzzed.tflite"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_card(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(8, 10**9), value=st.integers(0, 255))
def test_a_damaged_network_is_found_before_the_interpreter_sees_it(
    place: int, value: int, tiny_model: Path, tmp_path: Path
) -> None:
    """Damage that passes the flatbuffer check can end the process inside native code."""
    data = bytearray(tiny_model.read_bytes())
    place %= data.index(b"PK\x03\x04")
    place = max(8, place)
    data[place] ^= value or 1
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        Detector.open(path)


def test_absurd_shape_is_refused_before_allocation(tiny_model: Path, tmp_path: Path) -> None:
    from convert.quantize.package import read_flatbuffer, serialise

    model = read_flatbuffer(tiny_model.read_bytes())
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shape = [1, 60000, 60000, 3]
    path = tmp_path / "huge.tflite"
    path.write_bytes(serialise(model))
    with pytest.raises(InputError, match="at most 1 GiB"):
        Engine(path)
