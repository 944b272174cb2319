"""What the page's server answers: pages, settings, events, files, pictures."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from apps.moment import Figures, Moment
from apps.server import WebOutput
from runtime.detections import Detections
from runtime.errors import InputError
from runtime.frame import Frame
from tests.apps.desk import HEIGHT, SIDE, TOP, WIDTH, Desk, left_edge
from tests.apps.sockets import ask, change, masked, message, next_message, request, websocket
from tests.waiting import until

LINE = {"name": "door", "kind": "line", "points": [[0.5, 1.0], [0.5, 0.0]], "classes": []}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(
        tmp_path_factory.mktemp("media"), metrics=lambda: "edgewren_frames_total 7\n", health=lambda: (True, "live")
    )
    yield made
    made.close()


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/app.js", 200),
        ("GET", "/style.css", 200),
        ("GET", "/icon.svg", 200),
        ("GET", "/api/state", 200),
        ("GET", "/api/events", 200),
        ("GET", "/api/media", 200),
        ("GET", "/metrics", 200),
        ("GET", "/healthz", 200),
        *[("HEAD", path, 200) for path in ("/", "/app.js", "/api/state", "/api/events", "/api/media", "/metrics")],
        ("HEAD", "/healthz", 200),
        ("HEAD", "/nothing", 404),
        ("HEAD", "/live", 405),
        ("HEAD", "/stream.mjpg", 405),
        ("GET", "/index.html", 404),
        ("GET", "/nothing", 404),
        ("GET", "/api/events/999999.jpg", 404),
        ("GET", "/media/nothing.mp4", 404),
        ("GET", "/live", 400),
        ("GET", "/api/change", 405),
        ("POST", "/", 405),
        ("POST", "/api/state", 405),
        ("DELETE", "/app.js", 405),
    ],
)
def test_answers(method: str, path: str, status: int, desk: Desk) -> None:
    with request(desk.address, path, method) as answer:
        assert answer.status == status
        assert int(answer.headers["Content-Length"]) > 0
        assert b"Traceback" not in answer.read()
        assert "Server" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_message_is_facts_and_their_picture(desk: Desk) -> None:
    with websocket(desk.address) as page:
        facts, jpeg = next_message(page)
        image = decoded(jpeg)
    assert image.shape == (HEIGHT, WIDTH, 3)
    robin = facts["detections"][0]
    left = left_edge(facts["number"])
    assert (robin["label"], robin["track_id"], robin["box"]) == ("robin", 1, [left, TOP, left + SIDE, TOP + SIDE])
    assert image[TOP + SIDE // 2, left + SIDE // 2].min() > 200
    assert image[TOP + SIDE // 2, left - 12].max() < 90
    assert facts["figures"]["fps"] == 49.5
    # A path of this machine is nobody's business.
    assert "secret" not in json.dumps(facts)


def test_a_smaller_picture_for_who_asks(desk: Desk) -> None:
    pixels = np.zeros((720, 1920, 3), np.uint8)
    web = WebOutput("127.0.0.1", 0, desk)
    try:
        web.show(Moment(1, Frame(pixels), Detections.empty(), (), Figures()))
        address = web.url[7:].strip("/")
        with websocket(address) as large, websocket(address) as small:
            assert decoded(next_message(large)[1]).shape == (480, 1280, 3)
            assert decoded(next_message(small, b"next small")[1]).shape == (240, 640, 3)
    finally:
        web.close()


def test_each_message_asks_for_one_picture_and_the_newest(desk: Desk) -> None:
    with websocket(desk.address) as page:
        first, _ = next_message(page)
        # Nothing comes unasked.
        page.settimeout(0.3)
        with pytest.raises(TimeoutError):
            page.recv(1)
        page.settimeout(10)
        page.sendall(masked(b"next") * 5)
        second, _ = message(page)
        # A page that slept gets what is there now, not what it missed, and one answer for five questions.
        assert second["number"] > first["number"] + 5
        page.settimeout(0.3)
        with pytest.raises(TimeoutError):
            page.recv(1)


def test_figures_come_without_a_picture_while_the_source_is_away(desk: Desk) -> None:
    with websocket(desk.address) as page:
        next_message(page)
        desk.figures.source = "reopening"
        desk.silent.set()
        try:
            time.sleep(0.1)
            next_message(page)
            facts, jpeg = next_message(page)
            assert (facts["figures"]["source"], jpeg) == ("reopening", b"")
            # Who comes now sees the last picture, not nothing.
            with websocket(desk.address) as late:
                assert decoded(next_message(late)[1]).shape == (HEIGHT, WIDTH, 3)
        finally:
            desk.figures.source = "live"
            desk.silent.clear()


def test_a_page_whose_picture_fails_is_let_go_and_may_come_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would wait for an answer that never comes."""

    def broken(*_: object) -> bytes:
        raise ValueError("no JPEG today")

    with websocket(desk.address) as page:
        next_message(page)
        with monkeypatch.context() as patch:
            patch.setattr("apps.server.encode.message", broken)
            page.sendall(masked(b"next"))
            assert page.recv(4) == b"\x88\x08" + struct.pack(">H", 1011)
    assert "no JPEG today" in caplog.text
    with websocket(desk.address) as page:
        next_message(page)


def test_stream_is_jpeg_after_jpeg_with_the_box_drawn(desk: Desk) -> None:
    with request(desk.address, "/stream.mjpg") as answer:
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        for _ in range(3):
            assert answer.readline() == b"--frame\r\n"
            assert answer.readline() == b"Content-Type: image/jpeg\r\n"
            length = int(answer.readline().split(b":")[1])
            assert answer.readline() == b"\r\n"
            image = decoded(answer.read(length))
            assert image.shape == (HEIGHT, WIDTH, 3)
            assert (image.max(axis=2).astype(int) - image.min(axis=2)).max() > 60
            assert answer.readline() == b"\r\n"


def test_settings_change_and_every_message_says_which_version(desk: Desk) -> None:
    before = ask(desk.address, "/api/state")
    status, after = change(desk.address, {"score": 0.5})
    assert (status, after["score"], after["version"]) == (200, 0.5, before["version"] + 1)
    with websocket(desk.address) as page:
        time.sleep(0.1)
        facts, _ = next_message(page)
    assert facts["version"] == after["version"]
    assert [found["label"] for found in facts["detections"]] == ["robin"]
    change(desk.address, {"score": 0.25})


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"score": 2}, "score is 2; expected 0..1"),
        ({"path": "/etc/passwd"}, "unknown setting 'path'"),
        ({"shapes": [{"name": "x", "kind": "line", "points": [[0, 0], [9, 9]]}]}, "'x'"),
    ],
)
def test_what_the_session_refuses_is_told_in_its_words(wanted: dict[str, Any], text: str, desk: Desk) -> None:
    status, document = change(desk.address, wanted)
    assert status == 400
    assert text in document["error"]


def test_events_with_their_pictures_and_counts(desk: Desk) -> None:
    assert change(desk.address, {"shapes": [LINE]})[0] == 200
    newest = until(lambda: ask(desk.address, "/api/events")["events"], "no events", pause=0.1)[0]
    assert (newest["label"], newest["shape"], newest["kind"]) == ("robin", "door", "line")
    with request(desk.address, f"/api/events/{newest['number']}.jpg") as answer:
        image = decoded(answer.read())
        # The bright square, with some of the dark ground around it.
        assert image[image.shape[0] // 2, image.shape[1] // 2].min() > 200
        assert image[2, 2].max() < 90
    assert ask(desk.address, f"/api/events?after={newest['number'] + 999}")["events"] == []
    counted = ask(desk.address, "/api/state")["counts"][0]
    assert sum(counted["into"].values()) + sum(counted["out"].values()) >= 1
    change(desk.address, {"shapes": []})


def test_snapshots_are_listed_served_and_served_in_parts(desk: Desk) -> None:
    with request(desk.address, "/api/snapshot", "POST") as answer:
        name = json.loads(answer.read())["name"]
    assert name in [entry["name"] for entry in ask(desk.address, "/api/media")["media"]]
    with request(desk.address, f"/media/{name}") as answer:
        whole = answer.read()
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert decoded(whole).shape == (HEIGHT, WIDTH, 3)
    with request(desk.address, f"/media/{name}?download", Range="bytes=10-19") as answer:
        assert answer.status == 206
        assert answer.headers["Content-Disposition"] == "attachment"
        assert answer.read() == whole[10:20]


def test_without_a_folder_there_is_nothing_to_list_or_to_store() -> None:
    desk = Desk()
    try:
        assert ask(desk.address, "/api/media") == {"media": []}
        with request(desk.address, "/api/snapshot", "POST") as answer:
            assert answer.status == 400
            assert "nothing to store" in json.loads(answer.read())["error"]
        with request(desk.address, "/metrics") as answer:
            assert answer.status == 404
    finally:
        desk.close()


class Unwell:
    """A frame that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was touched though nobody watches")


def test_nobody_watching_means_nothing_is_done(desk: Desk) -> None:
    web = WebOutput("127.0.0.1", 0, desk)
    try:
        unwell: Any = Unwell()
        for number in range(1000):
            web.show(Moment(number, unwell, unwell, (), Figures()))
        time.sleep(0.1)
        assert web.viewers == 0
    finally:
        web.close()


def test_ten_viewers_cost_one_encode(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.server import encode

    made: list[int] = []
    plain = encode.jpeg

    def counted(pixels: Any) -> bytes:
        made.append(1)
        return plain(pixels)

    monkeypatch.setattr(encode, "jpeg", counted)
    web = WebOutput("127.0.0.1", 0, desk)
    pages = [websocket(web.url[7:].strip("/")) for _ in range(10)]
    try:
        for number in range(1, 6):
            for page in pages:
                page.sendall(masked(b"next"))
            web.show(Moment(number, Frame(np.zeros((48, 64, 3), np.uint8)), Detections.empty(), (), Figures()))
            assert {message(page)[0]["number"] for page in pages} == {number}
        assert len(made) == 5
    finally:
        for page in pages:
            page.close()
        web.close()


# Tornado leaves the socket that could not be bound to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_taken_port_is_one_line(desk: Desk) -> None:
    port = int(desk.address.rpartition(":")[2])
    with pytest.raises(InputError, match=f"cannot serve on 127.0.0.1 port {port} \\(address already in use"):
        WebOutput("127.0.0.1", port, desk)


def test_the_page_names_the_model_without_trusting_it(tmp_path: Path) -> None:
    desk = Desk()
    try:
        desk.change({"model": "<script>alert(1)</script>"})
        with request(desk.address, "/") as answer:
            text = answer.read().decode()
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text
    finally:
        desk.close()
