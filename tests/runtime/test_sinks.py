"""Where results go."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.detections import Detections, StageMs
from runtime.draw import annotate, class_color
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.sinks import encoder, open_sink
from runtime.sinks.encoder import open_encoder
from runtime.sinks.video import VideoSink
from runtime.sources import frames, open_source
from runtime.sources.images import IMAGE_SUFFIXES, read_image
from tests.conftest import picture

LABELS = ("wren", "robin")


@dataclass
class NoSource:
    """A source that only says how fast and whether live."""

    fps: float | None = 10.0
    live: bool = False

    def read(self) -> Frame | None:
        return None

    def rewind(self) -> bool:
        return False

    def close(self) -> None:
        pass


def found(count: int = 1) -> Detections:
    boxes = np.array([[10, 12, 60, 50]] * count, np.float32)
    return Detections(boxes, np.full(count, 0.5, np.float32), np.ones(count, np.int32), StageMs(0.1, 2.0, 0.3))


def frames_in(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def times_in(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    capture = cv2.VideoCapture(str(path))
    times = []
    while capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
    return times


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(f"json://{path}", LABELS, NoSource())
    for index in range(2):
        sink.write(Frame(picture(1, 80, 60), "bgr", "a.png", index), found(index))
    sink.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["detections"] == []
    assert lines[1] == {
        "source": "a.png",
        "frame": 1,
        "width": 80,
        "height": 60,
        "detections": [{"label": "robin", "class_id": 1, "score": 0.5, "box": [10.0, 12.0, 60.0, 50.0]}],
        "ms": {"preprocess": 0.1, "inference": 2.0, "postprocess": 0.3},
    }


def test_json_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("json://-", LABELS, NoSource())
    sink.write(Frame(picture(1, 80, 60)), found())
    sink.close()
    assert json.loads(capsys.readouterr().out)["detections"][0]["label"] == "robin"


def test_the_reader_of_a_named_pipe_may_go(tmp_path: Path) -> None:
    """An end of the work like that of standard output's reader, which is another matter and stays as it is."""
    pipe = tmp_path / "lines"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = open_sink(f"json://{pipe}", LABELS, NoSource())
    os.close(reader)
    before = os.fstat(sys.stdout.fileno())
    with pytest.raises(KeyboardInterrupt):
        sink.write(Frame(picture(1, 64, 48)), found())
    assert os.path.samestat(os.fstat(sys.stdout.fileno()), before)
    sink.close()


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".mov"])
def test_video_is_in_place_only_when_complete(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    sink = open_sink(str(path), LABELS, NoSource(fps=10))
    for index in range(5):
        sink.write(Frame(np.full((61, 81, 3), 40 * index, np.uint8), "bgr", "v", index), found(0))
    assert not path.exists()
    sink.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    frames = frames_in(path)
    assert [round(float(frame.mean()) / 40) for frame in frames] == list(range(5))
    assert frames[0].shape == (60, 80, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_video_with_a_colon_in_its_name(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = open_sink(f"12:30{suffix}", LABELS, NoSource())
    sink.write(Frame(picture(1, 64, 48)), found())
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == [f"12:30{suffix}"]
    assert len(frames_in(tmp_path / f"12:30{suffix}")) == 1


def test_video_holds_the_boxes_and_fits_other_sizes(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = open_sink(str(path), LABELS, NoSource())
    sink.write(Frame(np.zeros((60, 80, 3), np.uint8)), found())
    sink.write(Frame(np.full((200, 100, 3), 200, np.uint8)), found(0))
    sink.close()
    first, second = frames_in(path)
    # The left edge of the box has its class's colour, video compression aside.
    assert np.abs(first[40, 10].astype(int) - class_color(1)).max() < 60
    assert first[40, 35].max() < 40
    assert second[30, 40].min() > 150
    assert second[30, 5].max() < 60


def test_live_video_plays_at_the_speed_of_the_world(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, LABELS, 10, live=True)
    # The pause of a minute is cut to five seconds.
    for captured, value in ((5.0, 0), (5.1, 80), (5.5, 160), (5.52, 240), (65.52, 80)):
        sink.write(Frame(np.full((48, 64, 3), value, np.uint8), captured=captured), found(0))
    sink.close()
    assert times_in(path) == pytest.approx([0, 0.1, 0.5, 0.52, 5.52], abs=0.002)
    assert [round(float(frame.mean()) / 80) for frame in frames_in(path)] == [0, 1, 2, 3, 1]


def test_without_pyav_a_live_video_repeats_and_leaves_out_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "has_h264", lambda: False)
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, LABELS, 10, live=True)
    # Captured at 0, 0.1, 0.5 and 0.52 s: the pause is filled, the frame that came too soon is left out.
    for captured, value in ((5.0, 0), (5.1, 80), (5.5, 160), (5.52, 240)):
        sink.write(Frame(np.full((48, 64, 3), value, np.uint8), captured=captured), found(0))
    sink.close()
    assert [round(float(frame.mean()) / 80) for frame in frames_in(path)] == [0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_video_that_was_not_finished_plays_up_to_the_last_seconds(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    growing = open_encoder(path, (64, 48), 10)
    for index in range(75):
        growing.add(np.full((48, 64, 3), 2 * index, np.uint8), index / 10)
    shutil.copy(path, tmp_path / f"killed{suffix}")
    # Key frames, and with them fragments, come every two seconds.
    assert len(frames_in(tmp_path / f"killed{suffix}")) in range(55, 76)
    growing.close()
    assert len(frames_in(path)) == 75


def test_video_without_frames_leaves_nothing(tmp_path: Path) -> None:
    open_sink(str(tmp_path / "out.mp4"), LABELS, NoSource()).close()
    assert not list(tmp_path.iterdir())


def test_folder_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    sink = open_sink(str(folder), LABELS, NoSource())
    for source in ("a/dog.png", "b/dog.png", "c/cat.jpg"):
        sink.write(Frame(picture(1, 80, 60), "bgr", source), found())
    for index in (0, 7):
        sink.write(Frame(picture(1, 80, 60), "bgr", "street.mp4", index), found())
    sink.close()
    names = ["cat.jpg", "dog-2.png", "dog.png", "street-000000.jpg", "street-000007.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == names
    expected = annotate(Frame(picture(1, 80, 60)), found(), LABELS)
    np.testing.assert_array_equal(cv2.imread(str(folder / "dog.png")), expected)


def test_pictures_of_every_kind_that_is_read(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out"), LABELS, NoSource())
    for suffix in IMAGE_SUFFIXES:
        sink.write(Frame(picture(1, 80, 60), "bgr", f"dog{suffix}"), found())
    sink.close()
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == IMAGE_SUFFIXES
    assert all(read_image(path).pixels.shape == (60, 80, 3) for path in (tmp_path / "out").iterdir())


def test_no_original_is_replaced(tmp_path: Path) -> None:
    """Neither a picture's own file nor another one that is still to be read."""
    originals = [tmp_path / "a" / "dog.png", tmp_path / "dog.png"]
    (tmp_path / "a").mkdir()
    for number, path in enumerate(originals):
        cv2.imwrite(str(path), picture(number, 80, 60))
    before = [path.read_bytes() for path in originals]
    sources = [open_source(str(path)) for path in originals]
    sink = open_sink(str(tmp_path), LABELS, *sources)
    for source in sources:
        for frame in frames(source):
            sink.write(frame, found())
    sink.close()
    assert [path.read_bytes() for path in originals] == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "dog-2.png", "dog-3.png", "dog.png"]


@pytest.mark.parametrize("output", ["{}", "./{}", "json://{}"])
@pytest.mark.parametrize("name", ["film.mp4", "dog.png"])
def test_an_input_is_no_output(name: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work would end by putting the annotated one in the original's place."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("dog.png", picture(1, 64, 48))
    film = open_encoder(Path("film.mp4"), (64, 48), 10)
    film.add(picture(1, 64, 48), 0)
    film.close()
    before = Path(name).read_bytes()
    with pytest.raises(InputError, match=f"{name} is an input as well as an output"):
        open_sink(output.format(name), LABELS, NoSource(), open_source(name))
    assert Path(name).read_bytes() == before


def test_one_frame_becomes_one_picture(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.png"), LABELS, NoSource())
    sink.write(Frame(picture(1, 80, 60), "bgr", "a.png"), found())
    sink.close()
    expected = annotate(Frame(picture(1, 80, 60)), found(), LABELS)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out.png")), expected)


@pytest.mark.parametrize("count", [2, 5, 12, 13, 24, 25, 97, 600])
def test_many_frames_become_a_contact_sheet(count: int, tmp_path: Path) -> None:
    """Frames of rising brightness: those on the sheet are spread over all of them."""
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    sink = open_sink(str(tmp_path / "out.png"), LABELS, NoSource())
    for index in range(count):
        sink.write(Frame(np.full((60, 80, 3), 200 * index // count, np.uint8), "bgr", "v", index), nothing)
    sink.close()
    sheet = cv2.imread(str(tmp_path / "out.png"))
    assert sheet is not None
    cells = min(12, count)
    columns = min(4, cells)
    assert sheet.shape == (-(-cells // columns) * 308 + 8, columns * 408 + 8, 3)
    shown = [int(sheet[158 + i // columns * 308, 208 + i % columns * 408, 0]) for i in range(cells)]
    assert shown == sorted(set(shown))
    assert shown[0] == 0
    # Evenly: no gap much larger than the twelfth part it should be.
    assert max(np.diff([*shown, 200])) <= 2 * 200 / cells + 2


def test_no_frame_leaves_no_picture(tmp_path: Path) -> None:
    open_sink(str(tmp_path / "out.png"), LABELS, NoSource()).close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "an output has no name; expected json"),
        ("ftp://x", "is not an output"),
        (
            "display://0",
            r"this command does not; expected json.*; run python -m apps.live MODEL INPUT display",
        ),
        ("mqtt://host/topic", "run python -m apps.live MODEL INPUT mqtt://host/topic"),
        ("json://", "names no file"),
        ("json://{tmp}/no/out.json", "no such folder"),
        ("{tmp}/no/out.mp4", "no such folder"),
        ("{tmp}/no/out.png", "no such folder"),
        ("{tmp}/caf\udce9.mp4", r"caf\\udce9.mp4' is not UTF-8; expected names in UTF-8; rename it"),
        ("{tmp}/" + "x" * 300 + ".png", r"cannot be written \(file name too long\); choose another"),
        ("{tmp}/" + "x" * 300 + "/out.mp4", r"cannot be written \(file name too long\); choose another"),
        ("{tmp}/file/below", "cannot be made"),
        ("{tmp}/out.gif3", r"ends in \.gif3"),
        ("/proc/out.mp4", "cannot be written"),
        ("/proc/out", "cannot be made"),
    ],
)
def test_unusable_output(uri: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=message):
        open_sink(uri.format(tmp=tmp_path), LABELS, NoSource())


def test_drawing_leaves_the_frame_alone_and_knows_its_colour_order() -> None:
    blue = np.zeros((60, 80, 3), np.uint8)
    blue[:, :, 2] = 255
    frame = Frame(blue, "rgb")
    drawn = annotate(frame, found(), LABELS)
    assert tuple(drawn[55, 70]) == (255, 0, 0)
    assert tuple(frame.pixels[55, 70]) == (0, 0, 255)
    assert tuple(drawn[40, 10]) == class_color(1)


def test_boxes_at_and_beyond_the_border_are_drawn() -> None:
    frame = Frame(np.zeros((60, 80, 3), np.uint8))
    boxes = np.array([[0, 0, 80, 60], [70, 50, 80, 60], [0, 0, 0, 0]], np.float32)
    many = Detections(boxes, np.full(3, 0.9, np.float32), np.zeros(3, np.int32))
    assert annotate(frame, many, LABELS).shape == (60, 80, 3)
