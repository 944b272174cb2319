"""The live page, in a real browser and under hostile hands."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from apps.outputs.web import WebOutput
from runtime.detections import Detections, StageMs
from runtime.frame import Frame
from runtime.modelfile import require_card

# The scene: one bright square on dark ground, and a detection whose box lies exactly on it.
WIDTH, HEIGHT, SIDE = 320, 240, 60


def square(position: int) -> Frame:
    pixels = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    pixels[100 : 100 + SIDE, position : position + SIDE] = 230
    return Frame(pixels, "bgr", "made", position)


class Show:
    """Serves the moving square at about 50 frames/s."""

    def __init__(self, tiny_model: Path) -> None:
        self.output = WebOutput("127.0.0.1", 0, require_card(tiny_model))
        self.address = self.output.url.removeprefix("http://")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        position = 0
        while not self._stop.wait(0.02):
            position = (position + 3) % (WIDTH - SIDE)
            box = np.array([[position, 100, position + SIDE, 100 + SIDE]], np.float32)
            found = Detections(box, np.array([0.87], np.float32), np.array([1], np.int32), StageMs(1.0, 8.0, 1.0))
            self.output.show(square(position), found, {"fps": 49.5, "latency_ms": 12.3, "dropped": 4})

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.output.close()


@pytest.fixture
def show(tiny_model: Path) -> Iterator[Show]:
    made = Show(tiny_model)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        arguments = ["--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        launched = driver.chromium.launch(executable_path=browser_path, args=arguments)
        yield launched
        launched.close()


class Visit:
    """A page with everything it complained about and asked for."""

    def __init__(self, browser: Any, show: Show, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(show.output.url)
        self.page.wait_for_selector("#status[data-state=live]", timeout=15000)

    def canvas(self) -> np.ndarray:
        """The canvas's pixels, ``(h, w, 3)`` blue, green, red."""
        url = self.page.evaluate("document.getElementById('view').toDataURL('image/png')")
        data = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert image is not None
        return image

    def close(self) -> None:
        self.page.context.close()


@pytest.fixture
def visit(browser: Any, show: Show) -> Iterator[Visit]:
    made = Visit(browser, show)
    yield made
    made.close()


def columns_of_square(canvas: np.ndarray) -> tuple[int, int]:
    """First and last bright column."""
    bright = np.flatnonzero((canvas[115:150].min(axis=2) > 180).mean(axis=0) > 0.9)
    return int(bright[0]), int(bright[-1])


def columns_of_box(canvas: np.ndarray) -> tuple[int, int]:
    """First and last column of the box's two upright lines: strongly coloured, unlike the grey scene."""
    spread = canvas[115:150].max(axis=2).astype(int) - canvas[115:150].min(axis=2)
    lines = np.flatnonzero((spread > 60).mean(axis=0) > 0.9)
    return int(lines[0]), int(lines[-1])


def test_page_is_clean_and_asks_nobody_else(visit: Visit, show: Show) -> None:
    assert visit.complaints == []
    assert all(url.startswith(show.output.url) for url in visit.requests)
    assert visit.page.title() == "tiny · Edgewren"


def test_picture_moves_and_the_box_lies_on_the_object(visit: Visit) -> None:
    positions = set()
    for _ in range(8):
        canvas = visit.canvas()
        assert canvas.shape[:2] == (HEIGHT, WIDTH)
        first, last = columns_of_square(canvas)
        left, right = columns_of_box(canvas)
        # The line is drawn over the square's edge, so the bright part begins inside it.
        assert abs(left - first) <= 5
        assert abs(right - last) <= 5
        positions.add(first)
        visit.page.wait_for_timeout(120)
    assert len(positions) >= 5


def test_figures_are_shown(visit: Visit) -> None:
    text = {name: visit.page.inner_text(f"#{name}") for name in ("fps", "latency", "objects", "dropped", "list")}
    assert text == {"fps": "49.5", "latency": "12", "objects": "1", "dropped": "4", "list": "robin\n0.87"}
    legend = visit.page.inner_text(".legend")
    assert "preprocess 1.0 ms" in legend
    assert "inference 8.0 ms" in legend


def test_boxes_and_pause_by_mouse_and_key(visit: Visit) -> None:
    def spread() -> int:
        canvas = visit.canvas()
        return int((canvas.max(axis=2).astype(int) - canvas.min(axis=2)).max())

    assert spread() > 60
    visit.page.click("#boxes")
    assert spread() < 30
    visit.page.keyboard.press("b")
    assert spread() > 60
    visit.page.evaluate("document.activeElement.blur()")
    visit.page.keyboard.press("Space")
    visit.page.wait_for_timeout(200)
    still = visit.canvas()
    visit.page.wait_for_timeout(200)
    assert np.array_equal(still, visit.canvas())
    assert visit.page.inner_text("#status") == "paused"
    visit.page.click("#pause")
    visit.page.wait_for_timeout(300)
    assert not np.array_equal(still, visit.canvas())


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1280])
def test_fits_the_screen(scheme: str, width: int, browser: Any, show: Show) -> None:
    visit = Visit(browser, show, color_scheme=scheme, viewport={"width": width, "height": 760})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(value) for value in ground.strip("rgb()").split(","))
    assert (brightness > 600) == (scheme == "light")
    visit.close()


def test_page_says_when_it_is_over_and_comes_back(browser: Any, tiny_model: Path) -> None:
    show = Show(tiny_model)
    visit = Visit(browser, show)
    port = int(show.address.rpartition(":")[2])
    show.close()
    visit.page.wait_for_selector("#status[data-state=ended]", timeout=10000)
    again = WebOutput("127.0.0.1", port, require_card(tiny_model))
    for position in range(400):
        again.show(square(position % 200), Detections.empty(), {})
        time.sleep(0.02)
        if visit.page.get_attribute("#status", "data-state") == "live":
            break
    assert visit.page.get_attribute("#status", "data-state") == "live"
    visit.close()
    again.close()


@contextlib.contextmanager
def request(show: Show, path: str, method: str = "GET", **headers: str) -> Iterator[http.client.HTTPResponse]:
    with contextlib.closing(http.client.HTTPConnection(show.address, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        with connection.getresponse() as answer:
            yield answer


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/app.js", 200),
        ("GET", "/style.css", 200),
        ("GET", "/../web.py", 404),
        ("GET", "/app.js/../../../../etc/passwd", 404),
        ("GET", "/%2e%2e/web.py", 404),
        ("GET", "//etc/passwd", 404),
        ("GET", "/index.html", 404),
        ("GET", "/nothing", 404),
        ("POST", "/", 405),
        ("DELETE", "/app.js", 405),
        ("GET", "/live", 400),
    ],
)
def test_answers(method: str, path: str, status: int, show: Show) -> None:
    with request(show, path, method) as answer:
        assert answer.status == status
        body = answer.read()
        assert b"Traceback" not in body
        if status == 200:
            assert "Server" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_far_too_long_a_request_is_hung_up_on(show: Show) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)), request(show, "/" + "x" * 60000):
        pass
    with request(show, "/") as answer:
        assert answer.status == 200


def test_another_site_may_not_open_the_socket(show: Show) -> None:
    with request(show, "/live", Origin="http://evil.example", **UPGRADE) as answer:
        assert answer.status == 403


def test_stream_is_jpeg_after_jpeg_with_the_box_drawn(show: Show) -> None:
    with request(show, "/stream.mjpg") as answer:
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        for _ in range(3):
            assert answer.readline() == b"--frame\r\n"
            assert answer.readline() == b"Content-Type: image/jpeg\r\n"
            length = int(answer.readline().split(b":")[1])
            assert answer.readline() == b"\r\n"
            image = cv2.imdecode(np.frombuffer(answer.read(length), np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            assert image.shape == (HEIGHT, WIDTH, 3)
            assert (image.max(axis=2).astype(int) - image.min(axis=2)).max() > 60
            assert answer.readline() == b"\r\n"


def test_nobody_watching_costs_nothing(tiny_model: Path) -> None:
    output = WebOutput("127.0.0.1", 0, require_card(tiny_model))
    frame = Frame(np.zeros((1080, 1920, 3), np.uint8))
    begin = time.perf_counter()
    for _ in range(1000):
        output.show(frame, Detections.empty(), {})
    # Encoding one such frame takes several milliseconds; a thousand checks take about one.
    assert time.perf_counter() - begin < 0.5
    output.close()


def websocket(show: Show) -> socket.socket:
    """A bare WebSocket, hand-made so that it can misbehave."""
    host, port = show.address.split(":")
    made = socket.create_connection((host, int(port)), timeout=10)
    key = base64.b64encode(os.urandom(16)).decode()
    made.sendall(
        f"GET /live HTTP/1.1\r\nHost: {show.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert made.recv(4096).startswith(b"HTTP/1.1 101")
    return made


def masked(payload: bytes) -> bytes:
    """A text message as a client sends it."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return b"\x81" + length + b"\0\0\0\0" + payload


def receive(made: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = made.recv(count - len(data))
        assert chunk, "the server hung up"
        data += chunk
    return data


def message(made: socket.socket) -> tuple[dict[str, Any], bytes]:
    """The next frame from the server: facts and JPEG."""
    head = receive(made, 2)
    assert head[0] == 0x82
    size = head[1]
    if size == 126:
        size = struct.unpack(">H", receive(made, 2))[0]
    elif size == 127:
        size = struct.unpack(">Q", receive(made, 8))[0]
    data = receive(made, size)
    length = struct.unpack(">I", data[:4])[0]
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def test_each_message_asks_for_one_frame_and_the_newest(show: Show) -> None:
    with websocket(show) as page:
        page.sendall(masked(b"next"))
        first, jpeg = message(page)
        assert jpeg.startswith(b"\xff\xd8")
        assert first["detections"][0]["label"] == "robin"
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


def test_too_long_a_message_closes_that_page_alone(show: Show) -> None:
    with websocket(show) as bad, websocket(show) as good:
        bad.sendall(masked(b"x" * 5000))
        good.sendall(masked(b"next"))
        assert message(good)[0]["width"] == WIDTH
        bad.settimeout(5)
        closing = bad.recv(4)
        assert closing == b"" or closing[0] == 0x88


def test_many_viewers_and_a_limit(show: Show) -> None:
    pages = [websocket(show) for _ in range(32)]
    with request(show, "/live", **UPGRADE) as answer:
        assert answer.status == 503
    for page in pages:
        page.sendall(masked(b"next"))
    numbers = [message(page)[0]["number"] for page in pages]
    assert max(numbers) - min(numbers) < 50
    for page in pages:
        page.close()
    # Their places are free again.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and show.output._hub.pages:
        time.sleep(0.05)
    with websocket(show) as page:
        page.sendall(masked(b"next"))
        assert message(page)[0]["width"] == WIDTH
