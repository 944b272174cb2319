"""Opening what a user named, and writing whole files."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import InputError, RunError
from runtime.files import check_file, check_writable, read_names, read_text, replacing


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.touch(), "is empty"),
    ],
)
def test_unusable_file(make: object, message: str, tmp_path: Path) -> None:
    make(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        check_file(tmp_path / "x", "a thing")


def test_path_through_a_file_and_odd_names(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", Path("a\0b"), tmp_path / ("x" * 300)):
        with pytest.raises(InputError):
            check_file(path, "a thing")


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\n")
    assert read_text(path, "text") == "a\r\nb\n"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text"):
        read_text(path, "text")


def test_names(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("person\r\ntraffic light\n\n\n")
    assert read_names(path) == ("person", "traffic light")
    path.write_text("\n\n")
    with pytest.raises(InputError, match="holds no names"):
        read_names(path)


def test_replacing_puts_the_whole_file_in_place(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_text("old")
    with replacing(target) as scratch:
        scratch.write_text("new")
        assert target.read_text() == "old"
        assert scratch.suffix == ".bin"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_replacing_leaves_the_old_file_when_the_work_fails(error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as scratch:
        raise error(scratch.write_text("half"))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="could not be written"), replacing(tmp_path / "x"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["missing/out.tflite", "file/out.tflite", ".", "/proc/out.tflite"])
def test_unwritable_place(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError):
        check_writable(tmp_path / place)
