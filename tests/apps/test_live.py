"""The live app as a process: outputs, signals, ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, picture, run_module
from tests.ports import free_port


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames, 160x120, 20 frames/s."""
    path = tmp_path_factory.mktemp("video") / "made.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (160, 120))
    for index in range(20):
        writer.write(np.roll(picture(3, 160, 120), 4 * index, axis=1))
    writer.release()
    return path


def frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "apps.live", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_video_to_every_kind_of_file(tiny_model: Path, video: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / "out.mp4", tmp_path / "pictures", f"json://{tmp_path / 'out.jsonl'}"]
    done = run_module("apps.live", tiny_model, video, *outputs, "--score", "0.05")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "20 frames in" in done.stderr
    assert "0 dropped" in done.stderr
    assert f"wrote {tmp_path / 'out.mp4'}" in done.stderr
    assert frame_count(tmp_path / "out.mp4") == 20
    assert len(list((tmp_path / "pictures").iterdir())) == 20
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(20))
    assert sum(len(line["detections"]) for line in lines) > 0


def test_folder_to_standard_output(tiny_model: Path, photos: Path) -> None:
    done = run_module("apps.live", tiny_model, photos, "json://-")
    assert done.returncode == 0
    sources = [Path(json.loads(line)["source"]).name for line in done.stdout.splitlines()]
    assert sources == [f"photo{index}.png" for index in range(8)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals, tiny_model: Path, video: Path, tmp_path: Path) -> None:
    process = start(tiny_model, video, tmp_path / "out.mp4", "json://-", "--loop")
    assert process.stdout
    for _ in range(50):
        assert process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    lines = 50 + len(out.splitlines())
    assert abs(frame_count(tmp_path / "out.mp4") - lines) <= 1
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1]) if out else True


def test_stops_after_some_seconds(tiny_model: Path, video: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    done = run_module("apps.live", tiny_model, video, tmp_path / "out.mp4", "--loop", "--seconds", "1")
    assert done.returncode == 0
    assert 1 <= time.monotonic() - begin < 60
    assert frame_count(tmp_path / "out.mp4") >= 5


def test_paced_video_takes_as_long_as_it_plays(tiny_model: Path, video: Path) -> None:
    done = run_module("apps.live", tiny_model, video, "json://-", "--pace", "real")
    seconds = float(done.stderr.split(" frames in ")[1].split(" s")[0])
    assert 0.9 <= seconds < 30


def test_a_reader_that_goes_away_is_no_error(tiny_model: Path, video: Path) -> None:
    process = start(tiny_model, video, "json://-", "--loop")
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) in (0, 130)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_a_bad_picture_ends_it_with_one_line_and_keeps_what_was_done(
    tiny_model: Path, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes((photos / "photo0.png").read_bytes())
    (folder / "c.png").write_text("not a picture")
    done = run_module("apps.live", tiny_model, folder, tmp_path / "out.mp4")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "c.png is not a complete image" in done.stderr
    assert done.stderr.count("\n") == 1
    assert frame_count(tmp_path / "out.mp4") == 2


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_taken_port_is_one_line(tiny_model: Path, video: Path, taken_port: int) -> None:
    done = run_module("apps.live", tiny_model, video, f"http://127.0.0.1:{taken_port}")
    assert done.returncode == 2
    assert f"error: cannot serve on 127.0.0.1 port {taken_port} (address already in use)" in done.stderr


def test_its_own_stream_is_a_source_for_another(tiny_model: Path, video: Path) -> None:
    """The MJPEG stream the app serves, read by OpenCV as a network camera."""
    server = start(tiny_model, video, "http://127.0.0.1:0", "--loop")
    assert server.stderr
    try:
        url = server.stderr.readline().split("live page: ")[1].split()[0]
        done = run_module("runtime", "info", tiny_model)
        assert done.returncode == 0
        client = start(tiny_model, f"{url}stream.mjpg", "json://-")
        assert client.stdout
        lines = [json.loads(client.stdout.readline()) for _ in range(10)]
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=20)
        assert [line["frame"] for line in lines] == sorted({line["frame"] for line in lines})
        assert (lines[0]["width"], lines[0]["height"]) == (160, 120)
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
    assert server.returncode == 0


def test_the_service_manager_is_told_and_its_journal_holds_no_token(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        token = tmp_path / "token"
        process = start(tiny_model, "synthetic://cards?size=160x120", "http://127.0.0.1:0", "--token-file", token)
        try:
            assert manager.recv(100) == b"READY=1"
            assert manager.recv(100) == b"WATCHDOG=1"
            begin = time.monotonic()
            assert manager.recv(100) == b"WATCHDOG=1"
            assert time.monotonic() - begin > 0.5
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert "live page: http://127.0.0.1:" in err
        assert token.read_text().strip()
        assert token.read_text().strip() not in err


def test_a_broker_and_a_webhook_that_are_not_there_are_one_line_each(
    tiny_model: Path, tmp_path: Path, taken_port: int
) -> None:
    (tmp_path / "shapes.toml").write_text(
        "[[shapes]]\nname = 'all'\nkind = 'zone'\npoints = [[0, 0], [1, 0], [1, 1], [0, 1]]\n"
    )
    gone = free_port()
    done = run_module(
        *("apps.live", tiny_model, "synthetic://cards?size=160x120", f"mqtt://127.0.0.1:{gone}/cam", "--score", "0.01"),
        *("--webhook", f"http://127.0.0.1:{gone}/", "--config", tmp_path / "shapes.toml", "--seconds", "6"),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sum(f"mqtt: no connection to 127.0.0.1 port {gone}" in line for line in lines) == 1
    assert sum("webhook: http://127.0.0.1 does not take events" in line for line in lines) <= 1
    assert " frames in " in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["json://-", "--blur", "person"],
            "the model has no class 'person' to blur; expected one of wren, robin, finch",
        ),
        (["json://-", "--classes", "person"], "the model has no class 'person'"),
        (["json://-", "--also-model", "absent.tflite"], "absent.tflite: no such file"),
        (["mqtt://me:secret@127.0.0.1/cam"], "the MQTT address holds a password"),
        (["http://127.0.0.1:0/page"], "is not an address to serve"),
        (["http://127.0.0.1:0?token=0123456789abcdef"], "is not an address to serve"),
        (["http://me:secret@127.0.0.1:0"], "is not an address to serve"),
        (["https://127.0.0.1:0"], "expected http://HOST:PORT, mqtt://HOST/TOPIC, display://0, json://-"),
        (["json://-", "--state", "absent/state.json"], "absent: no such folder"),
        (["json://-", "--webhook", "ftp://127.0.0.1"], "cannot be posted to"),
        (["json://-", "json://-"], "output json://- is given twice"),
    ],
)
def test_what_cannot_be_done_is_one_line_at_the_start(
    arguments: list[str], line: str, tiny_model: Path, video: Path
) -> None:
    done = run_module("apps.live", tiny_model, video, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
