"""Recordings and clips: files that are read back, kills, full disks."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from apps.media import MediaOptions, MediaOutput, MediaStore
from apps.media.film import Film
from apps.moment import Event, Figures, Moment
from runtime.detections import Detections
from runtime.errors import InputError
from runtime.frame import Frame
from tests.apps.media.test_store import small_disk
from tests.apps.moments import LABELS, event
from tests.conftest import ROOT
from tests.waiting import until

__all__ = ["small_disk"]


def moment(seconds: float, value: int = 0, events: tuple[Event, ...] = (), width: int = 64) -> Moment:
    """A grey picture, so many seconds into a film; nothing was found."""
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    frame = Frame(np.full((48, width, 3), value, np.uint8), "bgr", "film", 0, time.monotonic(), seconds)
    return Moment(1, frame, nothing, LABELS, Figures(10.0), (), events)


def feed(output: MediaOutput, moments: list[Moment]) -> None:
    """Shows them all, no faster than they are written."""
    for one in moments:
        output.show(one)
        while output.waiting:
            time.sleep(0.001)


def film(path: Path) -> tuple[list[float], list[int]]:
    """When each picture is shown, and how bright it is."""
    capture = cv2.VideoCapture(str(path))
    times: list[float] = []
    values: list[int] = []
    while True:
        good, pixels = capture.read()
        if not good:
            return times, values
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
        values.append(round(float(pixels.mean())))


def test_a_recording_is_cut_into_segments(tmp_path: Path) -> None:
    output = MediaOutput(tmp_path, MediaOptions(keep_free_mb=0, segment_s=2.0, clips=False))
    output.show(moment(0.0))
    output.record(True)
    # Ten pictures a second, then a pause, then another size.
    steps = [(i / 10, 64) for i in range(50)] + [(20 + i / 10, 64) for i in range(5)] + [(21.0, 96)]
    feed(output, [moment(seconds, width=width) for seconds, width in steps])
    output.record(False)
    feed(output, [moment(30.0)])
    output.close()
    assert output.dropped == 0
    lengths = {len(film(tmp_path / media.name)[0]) for media in output.library.entries()}
    assert [media.kind for media in output.library.entries()] == ["recording"] * 5
    assert sum(len(film(tmp_path / media.name)[0]) for media in output.library.entries()) == 56
    assert lengths == {20, 10, 5, 1}


def test_a_clip_begins_before_its_event_and_ends_after_the_last(tmp_path: Path) -> None:
    output = MediaOutput(tmp_path, MediaOptions(keep_free_mb=0, clip_before_s=1.0, clip_after_s=2.0))
    events = {50: (event(7),), 60: (event(8), event(9))}
    feed(output, [moment(i / 10, 2 * i, events.get(i, ())) for i in range(120)])
    output.close()
    clip, thumbnail = sorted(output.library.entries(), key=lambda media: media.kind)
    assert (clip.kind, clip.event, clip.last_event) == ("clip", 7, 9)
    assert clip.name.endswith("-7-9.mp4")
    assert (thumbnail.kind, thumbnail.event) == ("snapshot", 7)
    times, values = film(tmp_path / clip.name)
    # From second 4 to second 8 of the film.
    assert len(times) == 41
    assert times[-1] - times[0] == pytest.approx(4.0, abs=0.01)
    assert values == pytest.approx(list(range(80, 161, 2)), abs=3)
    small = cv2.imread(str(tmp_path / thumbnail.name))
    assert small is not None
    assert small.shape == (240, 320, 3)
    assert float(small.mean()) == pytest.approx(100, abs=3)


def test_a_killed_program_leaves_all_but_the_last_seconds(tmp_path: Path) -> None:
    code = (
        "import sys, itertools; from pathlib import Path; from tests.apps.media.test_films import feed, moment\n"
        "from apps.media import MediaOptions, MediaOutput\n"
        "output = MediaOutput(Path(sys.argv[1]), MediaOptions(keep_free_mb=0, segment_s=5, clips=False, record=True))\n"
        "for index in itertools.count(): feed(output, [moment(index / 10)]); print(index, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout
    for line in process.stdout:
        if int(line) == 140:
            break
    process.kill()
    process.stdout.close()
    process.wait()
    store = MediaStore(tmp_path, 10**9, 0)
    counts = [len(film(tmp_path / media.name)[0]) for media in reversed(store.entries())]
    store.close()
    assert counts[:2] == [50, 50]
    assert counts[2] >= 20


def test_a_full_disk_interrupts_a_recording_until_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.media.worker._RETRY_S", 0.05)
    monkeypatch.setattr("apps.media.film._CHECK_INTERVAL_S", 0.0)
    told: list[tuple[str, str]] = []
    arrived = threading.Condition()

    def notify(what: str, text: str) -> None:
        with arrived:
            told.append((what, text))
            arrived.notify_all()

    output = MediaOutput(small_disk / "media", MediaOptions(keep_free_mb=1, clips=False, record=True), notify)
    clock = iter(range(100_000))

    def run_until(count: int) -> None:
        until(lambda: len(told) >= count, seconds=10, rest=lambda _: feed(output, [moment(next(clock) / 20)]))

    feed(output, [moment(next(clock) / 20) for _ in range(20)])
    (small_disk / "other").write_bytes(b"x" * 1_500_000)
    run_until(1)
    before = next(clock)
    assert told[0][0] == "recording"
    assert "no space left on device" in told[0][1]
    (small_disk / "other").unlink()
    run_until(2)
    assert told[1] == ("recording", "")
    output.close()
    assert len(output.library.entries()) == 2
    after, first = (len(film(small_disk / "media" / media.name)[0]) for media in output.library.entries())
    # Nothing that was recorded before is lost, but for the frame the disk had no room for.
    assert before - 2 <= first <= before
    assert after >= 1


@pytest.mark.parametrize("clips", [False, True])
def test_a_defect_in_completing_a_file_is_raised_and_the_folder_is_free(
    clips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = Film.finish

    def finish(film: Film, last_event: int | None = None) -> None:
        complete(film, last_event)
        raise RuntimeError("a defect")

    output = MediaOutput(tmp_path, MediaOptions(keep_free_mb=0, clips=clips, record=not clips))
    feed(output, [moment(number / 20, events=(event(number + 1),)) for number in range(5)])
    monkeypatch.setattr(Film, "finish", finish)
    with pytest.raises(RuntimeError, match="a defect"):
        output.close()
    MediaStore(tmp_path, 10**9, 0).close()


def remount(folder: Path, way: str) -> None:
    done = subprocess.run(["mount", "-o", f"remount,{way}", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"may not remount a disk ({done.stderr.strip()})")


def test_a_disk_that_becomes_read_only_is_a_line_each_and_nothing_else_stops(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As cards do that wear out. Recording and clips go on when it can be written again."""
    monkeypatch.setattr("apps.media.worker._RETRY_S", 0.05)
    told: list[tuple[str, str]] = []
    options = MediaOptions(keep_free_mb=0, segment_s=1.0, record=True, clip_after_s=0.3)
    output = MediaOutput(small_disk / "media", options, lambda what, text: told.append((what, text)))
    clock = iter(range(100_000))

    def run_until(condition: Callable[[], bool]) -> None:
        def go_on(_: float) -> None:
            number = next(clock)
            feed(output, [moment(number / 20, events=(event(number + 1),))])

        until(condition, seconds=15, rest=go_on)

    run_until(lambda: len(output.library.entries()) >= 3)
    # Descriptors that are open for writing keep a disk from becoming read-only, as here a segment's does.
    output.record(False)
    time.sleep(0.3)
    feed(output, [moment(next(clock) + 500.0)])
    time.sleep(0.3)
    remount(small_disk, "ro")
    output.record(True)
    clock = iter(range(20_000, 100_000))
    run_until(lambda: len(told) >= 2)
    assert sorted(told) == [
        (what, f"{what} interrupted: read-only file system; tried again every 0 s")
        for what in ("event clips", "recording")
    ]
    with pytest.raises(InputError, match=r"read-only file system\); check the folder of media"):
        output.snapshot(moment(0.0))
    remount(small_disk, "rw")
    run_until(lambda: len(told) >= 4)
    assert sorted(told[2:]) == [("event clips", ""), ("recording", "")]
    output.close()
    remount(small_disk, "ro")
    with pytest.raises(
        InputError, match=r"folder .*/media cannot be written \(read-only file system\); .*make it writable"
    ):
        MediaStore(small_disk / "media", 10**9, 0)


def test_a_clip_that_finds_no_room_for_the_seconds_before_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would grow, unseen and open, until the program ends, and count as used for ever."""
    output = MediaOutput(tmp_path, MediaOptions(keep_free_mb=0, clip_before_s=1.0))
    feed(output, [moment(i / 10) for i in range(10)])
    add = Film.add

    def full(self: Film, picture: Any, happened: float) -> None:
        if happened > 0.4:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, picture, happened)

    monkeypatch.setattr(Film, "add", full)
    output.show(moment(1.0, events=(event(7),)))
    output.close()
    assert not list(tmp_path.glob(".growing-*"))
    (clip,) = output.library.entries()
    assert len(film(tmp_path / clip.name)[0]) == 5


def test_a_frame_that_is_taken_while_a_recording_is_switched_off_begins_no_segment(tmp_path: Path) -> None:
    """It would grow, unseen, until the recording is switched on again."""

    class Late(threading.Event):
        def is_set(self) -> bool:
            on = super().is_set()
            if on:
                output.record(False)
            return on

    output = MediaOutput(tmp_path, MediaOptions(keep_free_mb=0, clips=False))
    recorder = output._recorder
    recorder._on = Late()
    output.record(True)
    output.show(moment(0.0))
    recorder._worker.close()
    growing = list(tmp_path.glob(".growing-*"))
    output.close()
    assert not growing


def test_a_recording_that_is_switched_off_is_not_said_to_be_tried_again(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    full = MediaOptions(keep_free_mb=10**9, clips=False)
    output = MediaOutput(tmp_path, full, lambda what, text: told.append((what, text)))
    output.record(True)
    output.show(moment(0.0))
    until(lambda: told)
    output.record(False)
    output._recorder._worker.close()
    output.close()
    assert told[1:] == [("recording", "")]


def test_a_snapshot_shows_the_moment(tmp_path: Path) -> None:
    output = MediaOutput(tmp_path, MediaOptions(keep_free_mb=0))
    name = output.snapshot(moment(0.0, 120))
    path = output.library.find(name)
    assert path
    picture = cv2.imread(str(path))
    assert picture is not None
    assert float(picture.mean()) == pytest.approx(120, abs=2)
    output.close()
