"""Where frames come from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.errors import InputError
from runtime.sources import frames, open_source
from runtime.sources.images import list_images, read_image
from tests.conftest import picture


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames, 64x48, 10 frames/s; frame i is grey of value 20 * i."""
    path = tmp_path / "grey.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for value in range(0, 240, 20):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    return path


def test_video(video: Path) -> None:
    source = open_source(str(video))
    assert not source.live
    assert source.fps == pytest.approx(10)
    found = list(frames(source))
    assert [frame.index for frame in found] == list(range(12))
    assert [round(float(frame.pixels.mean()) / 20) for frame in found] == list(range(12))
    assert (found[0].width, found[0].height, found[0].color) == (64, 48, "bgr")
    assert all(a.captured <= b.captured for a, b in pairwise(found))
    source.close()


def damage(video: Path, numbers: Iterable[int]) -> None:
    """Makes pictures of an MPEG-4 film ones that cannot be decoded, by their start codes."""
    data = bytearray(video.read_bytes())
    pictures = data.split(b"\0\0\1\xb6")
    for number in numbers:
        place = sum(map(len, pictures[: number + 1])) + 4 * number
        data[place : place + 4] = b"\xff" * 4
    video.write_bytes(data)


def test_video_goes_on_behind_a_damaged_picture(video: Path) -> None:
    damage(video, (4, 5, 11))
    source = open_source(str(video))
    found = list(frames(source))
    assert [frame.index for frame in found] == [0, 1, 2, 3, 6, 7, 8, 9, 10]
    assert found[-1].media_time == pytest.approx(1.0)
    assert source.rewind()
    assert [frame.index for frame in frames(source)] == [0, 1, 2, 3, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(("count", "told"), [(3, True), (8, True), (9, False), (12, False)])
def test_a_film_that_was_cut_off_is_told_once(
    count: int, told: bool, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(video, range(count, 12))
    source = open_source(str(video))
    assert len(list(frames(source))) == count
    assert source.rewind()
    assert len(list(frames(source))) == count
    note = f"note: {video} ends after {count} of about 12 frames; it may be damaged\n"
    assert capsys.readouterr().err == (note if told else "")


@pytest.mark.parametrize("missing", [1, 12, 13, 5000])
def test_cut_png_is_refused_in_silence(missing: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a picture of more than one chunk libpng itself would speak."""
    path = tmp_path / "cut.png"
    path.write_bytes(cv2.imencode(".png", picture(1, 400, 300))[1].tobytes())
    assert read_image(path).pixels.shape == (300, 400, 3)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(InputError, match="is not a complete image"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_video_with_a_colon_in_its_name(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorders name files by the time; FFmpeg takes what stands before a colon for a protocol."""
    monkeypatch.chdir(video.parent)
    video.rename("2024-05-01T12:30:00.mp4")
    found = list(frames(open_source("2024-05-01T12:30:00.mp4")))
    assert [frame.source for frame in found] == ["2024-05-01T12:30:00.mp4"] * 12


def test_a_video_whose_name_is_not_utf8_is_refused(video: Path) -> None:
    """As old cameras and sticks have them; OpenCV crashes over such a name."""
    named = video.rename(video.parent / os.fsdecode(b"caf\xe9.mp4"))
    with pytest.raises(InputError, match=r"caf\\udce9.mp4' is not UTF-8; expected names in UTF-8; rename it"):
        open_source(str(named))


def test_no_name_is_not_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set would have all pictures there looked at."""
    cv2.imwrite(str(tmp_path / "private.png"), picture(1, 40, 30))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="an input has no name; expected 0 or v4l2"):
        open_source("")
    assert len(list(frames(open_source(".")))) == 1


def test_video_loops(video: Path) -> None:
    source = open_source(str(video))
    indices = [frame.index for frame, _ in zip(frames(source, loop=True), range(30), strict=False)]
    assert indices == [*range(12), *range(12), *range(6)]
    source.close()


@pytest.mark.parametrize(("suffix", "codec"), [(".ts", "libx264"), (".h264", "libx264"), (".mpg", "mpeg2video")])
def test_a_film_without_an_index_starts_again(suffix: str, codec: str, tmp_path: Path) -> None:
    """FFmpeg cannot wind these back, and a loop over them went round for ever without a frame."""
    av = pytest.importorskip("av", reason="PyAV is not made for this processor")
    path = tmp_path / f"film{suffix}"
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for value in range(0, 240, 20):
            shade = av.VideoFrame.from_ndarray(np.full((48, 64, 3), value, np.uint8), format="bgr24")
            film.mux(stream.encode(shade))
        film.mux(stream.encode(None))
    source = open_source(str(path))
    first = [round(float(frame.pixels.mean()) / 20) for frame in frames(source)]
    assert first == list(range(12))
    assert source.rewind()
    again = list(frames(source))
    assert [round(float(frame.pixels.mean()) / 20) for frame in again] == first
    assert [frame.index for frame in again] == list(range(12))
    source.close()


def test_image_and_folder(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "sub/c.bmp", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), picture(1, 40, 30))
    (tmp_path / "notes.txt").write_text("not a picture")
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.png", "c.bmp"]
    assert [Path(frame.source).name for frame in frames(open_source(str(tmp_path)))] == ["a.jpg", "b.png", "c.bmp"]
    assert [frame.index for frame in frames(open_source(str(tmp_path / "b.png")))] == [0]
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, picture(1, 40, 30))


def test_grey_deep_and_transparent_pictures_become_8_bit_colour(tmp_path: Path) -> None:
    made: dict[str, Any] = {
        "grey.png": np.full((8, 8), 100, np.uint8),
        "deep.png": np.full((8, 8, 3), 100 * 257, np.uint16),
        "alpha.png": np.full((8, 8, 4), 100, np.uint8),
    }
    for name, pixels in made.items():
        cv2.imwrite(str(tmp_path / name), pixels)
        frame = read_image(tmp_path / name)
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.shape == (8, 8, 3)
        assert (frame.pixels == 100).all()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("missing.jpg", "no such file"),
        ("missing.mp4", "no such file"),
        ("x" * 300, r"cannot be read \(file name too long\); expected an image, a video"),
        (f"{'x' * 300}.jpg", r"cannot be read \(file name too long\); expected an image, a video"),
        ("text.jpg", "is not a complete image"),
        ("half.jpg", "is not a complete image"),
        ("half.png", "is not a complete image"),
        ("empty.png", "is empty"),
        ("text.mp4", "is not a video"),
        ("text", "is not a video"),
        ("void", "holds no images"),
        ("99", "no camera at /dev/video99"),
        ("v4l2:///dev/video98", "no camera at /dev/video98"),
        ("/dev/video97", "no camera at /dev/video97"),
        ("csi://x", "is not a source this version knows"),
        ("csi://0?size=640x480&fps=0", "fps is '0'; expected 1..240"),
        ("csi://0?zoom=2", "unknown key 'zoom'"),
        ("v4l2:///dev/video98?format=h264", "format is 'h264'; expected mjpg or yuyv or any"),
        ("v4l2:///dev/video98?size=big", "expected WIDTHxHEIGHT"),
        ("v4l2:///dev/null", "/dev/null is no camera"),
        ("rtsp:///path", "is not an address"),
        ("rtsp://camera..local/1", "is not an address"),
        ("http://127.0.0.1:9/\udce9", "is not an address"),
        (f"http://{'a' * 64}.local/1", "is not an address"),
        ("ftp://example.org/x.mp4", "is not a source this version knows"),
        ("synthetic://nothing", "is not a source this version knows"),
        ("http://127.0.0.1:9/stream", "gives no pictures"),
    ],
)
def test_unusable_source(uri: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for suffix in (".jpg", ".png"):
        data = cv2.imencode(suffix, picture(1, 200, 150))[1].tobytes()
        (tmp_path / f"half{suffix}").write_bytes(data[: len(data) // 2])
    for name in ("text.jpg", "text.mp4", "text"):
        (tmp_path / name).write_text("this is a text, not what its name says\n" * 50)
    (tmp_path / "empty.png").touch()
    (tmp_path / "void").mkdir()
    name = uri if "://" in uri or uri.isdecimal() else str(tmp_path / uri)
    with pytest.raises(InputError, match=message):
        list(frames(open_source(name)))
    # Native libraries must not talk over the one error line.
    assert capfd.readouterr().err == ""
