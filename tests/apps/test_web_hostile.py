"""Hostile hands on the page's server: the session goes on, and they get a 4xx."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from apps.moment import Figures, Moment
from apps.server import Limits, WebOutput, find_token, is_loopback
from apps.server.limits import Rate
from apps.server.viewers import Stream
from runtime.detections import Detections
from runtime.errors import InputError
from runtime.frame import Frame
from tests.apps.desk import Desk
from tests.apps.sockets import UPGRADE, ask, change, connect, masked, message, next_message, request, websocket
from tests.waiting import until

TOKEN = "a-token-that-is-long-enough"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(tmp_path_factory.mktemp("media"), limits=Limits(requests=1000, changes=1000, connects=1000))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _goes_on(desk: Desk) -> Iterator[None]:
    """After each test the session has gone on and the page is there."""
    before = desk.number
    yield
    until(lambda: desk.number >= before + 2, "the session stands still", 5)
    with request(desk.address, "/") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../web.py",
        "/app.js/../../../../etc/passwd",
        "/%2e%2e/web.py",
        "//etc/passwd",
        "/media/../../../../etc/passwd",
        "/media/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/media/%2fetc%2fpasswd",
        "/media/%2e%2e",
        "/media/%00",
        "/media/",
        "/media//etc/passwd",
        "/api/events/../state",
        "/api/events/1e9.jpg",
        "/api/events/%2e%2e%2fstate.jpg",
    ],
)
def test_no_path_leads_out(path: str, desk: Desk) -> None:
    with request(desk.address, path) as answer:
        assert answer.status == 404
        assert b"root:" not in answer.read()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"\xff\xfe\x00", {}, 400),
        (b"[" * 20000, {}, 400),
        (b'{"score": NaN}', {}, 400),
        (b'{"score": 1e999}', {}, 400),
        (b'{"score": ' + b"9" * 5000 + b"}", {}, 400),
        (b"[1]", {}, 400),
        (b'"score"', {}, 400),
        (b'{"score": "0.5"}', {}, 400),
        (b'{"shapes": {}}', {}, 400),
        (b'{"shapes": [{"name": "' + b"x" * 41 + b'", "kind": "line", "points": [[0,0],[1,1]]}]}', {}, 400),
        (
            b'{"shapes": [{"name": "x", "kind": "line", "points": [[0,0],[1,1]], "classes": ["\\ud800"]}]}',
            {},
            400,
        ),
        (b'{"score": 0.5}', {"Content_Type": "text/plain"}, 415),
        (b'{"score": 0.5}', {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"score": 0.5}', {"Origin": "http://evil.example"}, 403),
        (b'{"score": 0.5}', {"Origin": "null"}, 403),
        (b'{"score": 0.5}', {"Sec_Fetch_Site": "cross-site"}, 403),
        (b'{"score": 0.5}', {"Host": "evil.example"}, 403),
        (b" " * 70_000 + b"{}", {}, 413),
    ],
)
def test_bad_changes(body: bytes, headers: dict[str, str], status: int, desk: Desk) -> None:
    before = desk.state()["version"]
    seen, document = change(desk.address, body, **headers)
    assert seen == status
    assert document["error"]
    assert desk.state()["version"] == before


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "\u0665", "9" * 40, "%00"])
def test_bad_numbers(after: str, desk: Desk) -> None:
    with request(desk.address, f"/api/events?after={after.encode().hex() if not after.isascii() else after}") as answer:
        assert answer.status in (200, 400)
        assert answer.status == 400 or after == "\u0665"


def test_a_body_of_megabytes_is_not_read(desk: Desk) -> None:
    with connect(desk.address) as made:
        made.sendall(
            f"POST /api/change HTTP/1.1\r\nHost: {desk.address}\r\nContent-Type: application/json\r\n"
            "Content-Length: 900000000\r\n\r\n".encode()
        )
        assert made.recv(100).startswith(b"HTTP/1.1 4")


def test_far_too_long_a_request_is_hung_up_on(desk: Desk) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)), request(desk.address, "/" + "x" * 60000):
        pass


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "192.168.1.2"]
)
def test_another_name_for_this_machine_is_refused(host: str, desk: Desk) -> None:
    """DNS rebinding: a stranger's name that leads to 127.0.0.1."""
    with request(desk.address, "/api/state", Host=host) as answer:
        assert answer.status in (400, 403)


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:80", "127.0.0.9:1"])
def test_names_of_this_machine_are_served(host: str, desk: Desk) -> None:
    with request(desk.address, "/api/state", Host=host) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_another_site_may_not_open_the_socket(headers: dict[str, str], desk: Desk) -> None:
    with request(desk.address, "/live", **UPGRADE, **headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("text", [b"x" * 5000, b"give me all", b"", b"\xff\xfe"])
def test_a_bad_message_closes_that_page_alone(text: bytes, desk: Desk) -> None:
    with websocket(desk.address) as bad, websocket(desk.address) as good:
        bad.sendall(masked(text))
        assert next_message(good)[0]["width"] == 640
        bad.settimeout(5)
        closing = bad.recv(4)
        assert closing == b"" or closing[0] == 0x88


def test_a_page_has_time_to_read_that_it_is_over() -> None:
    """A connection that is cut before its end was answered may lose the word of it on the way."""
    over = Desk()
    with websocket(over.address) as page:
        next_message(page)
        closing = threading.Thread(target=over.close)
        closing.start()
        assert page.recv(4) == b"\x88\x0a\x03\xe9"  # going away, 1001
        assert page.recv(8) == b"finished"
        page.settimeout(0.3)
        with pytest.raises(TimeoutError):
            page.recv(1)
        page.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
        page.settimeout(10)
        assert page.recv(1) == b""
        closing.join()


def test_a_page_that_asks_without_end_is_closed(desk: Desk) -> None:
    with websocket(desk.address) as page:
        page.sendall(masked(b"next") * 2000)
        for _ in range(2000):
            try:
                message(page)
            except ConnectionError:
                return
    raise AssertionError("it went on answering")


def test_many_viewers_and_a_limit(desk: Desk) -> None:
    pages = [websocket(desk.address) for _ in range(32)]
    with request(desk.address, "/live", **UPGRADE) as answer:
        assert answer.status == 429
    for page in pages:
        page.sendall(masked(b"next"))
    numbers = [message(page)[0]["number"] for page in pages]
    assert max(numbers) - min(numbers) < 50
    for page in pages:
        page.close()
    # Their places are free again.
    until(lambda: desk.web.viewers == 0)
    with websocket(desk.address) as page:
        assert next_message(page)[0]["width"] == 640
    streams = [connect(desk.address) for _ in range(16)]
    for stream in streams:
        stream.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {desk.address}\r\n\r\n".encode())
        assert stream.recv(20).startswith(b"HTTP/1.1 200")
    with request(desk.address, "/stream.mjpg") as answer:
        assert answer.status == 429
    for stream in streams:
        stream.close()
    until(lambda: desk.web.viewers == 0)


def test_two_hundred_connections(desk: Desk) -> None:
    held: list[socket.socket] = []
    refused = 0
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            made = stack.enter_context(connect(desk.address))
            made.setblocking(False)
            held.append(made)
        time.sleep(0.5)
        for made in held:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                refused += made.recv(100).startswith(b"HTTP/1.1 429 ")
    assert refused >= 200 - Limits().per_address
    # Once they have gone there is room again: see _goes_on.
    time.sleep(0.2)


def test_slow_readers_are_dropped_and_hold_up_nobody(desk: Desk) -> None:
    web = WebOutput("127.0.0.1", 0, desk, limits=Limits(reader_s=0.4))
    address = web.url[7:].strip("/")
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    number = 0

    def show() -> bool:
        nonlocal number
        number += 1
        web.show(Moment(number, Frame(noise), Detections.empty(), (), Figures()))
        return web.viewers == 1

    try:
        with websocket(address, 4096) as slow, connect(address, 4096) as stream, websocket(address) as good:
            stream.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            show()
            # Answers pile up unread until the kernel takes no more.
            for _ in range(40):
                slow.sendall(masked(b"next"))
                show()
                assert next_message(good)[0]["number"] >= number - 1
            until(show, "no picture")
            assert next_message(good)[1]
    finally:
        web.close()


def test_a_connection_that_says_nothing_is_closed(desk: Desk) -> None:
    web = WebOutput("127.0.0.1", 0, desk, limits=Limits(header_s=0.3))
    try:
        with connect(web.url[7:].strip("/")) as idle, connect(web.url[7:].strip("/")) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: 127")
            assert idle.recv(10) == b""
            assert slow.recv(10) == b""
    finally:
        web.close()


def test_too_many_requests(desk: Desk) -> None:
    strict = Desk(limits=Limits(requests=1, changes=0.5, wait_s=0.01))
    try:
        statuses = [change(strict.address, {"score": 0.3})[0] for _ in range(3)]
        assert statuses == [200, 200, 429]
        with request(strict.address, "/api/state") as answer:
            assert answer.status == 200
        with request(strict.address, "/api/state") as answer:
            assert answer.status == 429
            assert answer.headers["Retry-After"] == "5"
    finally:
        strict.close()


def test_a_reader_that_is_put_off_and_leaves_is_no_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()
    left: list[Exception | None] = []
    leave, put_off = Stream.on_connection_close, Stream.put_off

    async def waiting(stream: Stream) -> None:
        waits.set()
        await put_off(stream)

    def noted(stream: Stream) -> None:
        try:
            leave(stream)
        except Exception as error:
            left.append(error)
        else:
            left.append(None)

    monkeypatch.setattr(Stream, "put_off", waiting)
    monkeypatch.setattr(Stream, "on_connection_close", noted)
    strict = Desk(limits=Limits(requests=0, wait_s=600))
    try:
        with contextlib.closing(connect(strict.address)) as reader:
            reader.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {strict.address}\r\n\r\n".encode())
            # Who leaves before the request is read is never put off.
            assert waits.wait(20)
        until(lambda: left)
    finally:
        strict.close()
    assert left == [None]


def test_a_reader_that_left_before_it_was_heard_is_not_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while no picture comes, as from a camera that is lost."""
    gone, over = threading.Event(), threading.Event()
    get = Stream.get

    async def got(stream: Stream) -> None:
        await get(stream)
        over.set()

    monkeypatch.setattr(Stream, "get", got)
    web = WebOutput("127.0.0.1", 0, desk)
    address = web.url[7:].strip("/")
    try:
        with contextlib.closing(connect(address)) as reader:
            reader.sendall(f"GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            assert reader.recv(65536)
            web._loop.call_soon_threadsafe(gone.wait, 20)
            reader.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        gone.set()
        assert over.wait(20)
        assert web.viewers == 0
    finally:
        web.close()


def test_the_head_of_a_stream_does_not_wait_for_a_picture(desk: Desk) -> None:
    web = WebOutput("127.0.0.1", 0, desk)
    address = web.url[7:].strip("/")
    try:
        with contextlib.closing(connect(address)) as reader:
            reader.sendall(f"GET /stream.mjpg HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            assert reader.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        web.close()


def test_who_floods_waits_and_the_session_does_not(desk: Desk) -> None:
    """Twenty connections that ask as fast as they can."""
    strict = Desk(limits=Limits(requests=10))
    asked = f"GET /api/state HTTP/1.1\r\nHost: {strict.address}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        stack.callback(strict.close)
        flood = [stack.enter_context(connect(strict.address)) for _ in range(20)]
        for made in flood:
            made.sendall(asked)
            made.setblocking(False)
        answers, before, start = 0, strict.number, time.monotonic()
        while time.monotonic() < start + 1.5:
            for made in flood:
                with contextlib.suppress(BlockingIOError):
                    answers += made.recv(65536).startswith(b"HTTP/1.1 ")
                    made.sendall(asked)
            time.sleep(0.001)
        # Forty at once, then each connection hears no more than once a second.
        assert 40 <= answers <= 40 + 30 * (time.monotonic() - start + 1)
        assert strict.number - before > 5


@pytest.fixture(scope="module")
def locked() -> Iterator[Desk]:
    made = Desk(token=TOKEN, limits=Limits(guesses=500))
    yield made
    made.close()


OPEN = {"/healthz", "/app.js", "/style.css"}


@pytest.mark.parametrize(
    "path", ["/", "/api/state", "/api/events", "/stream.mjpg", "/metrics", "/media/x", "/healthz", "/app.js"]
)
@pytest.mark.parametrize("given", ["", "?token=wrong", f"?token={TOKEN}x"])
def test_without_the_token(path: str, given: str, locked: Desk) -> None:
    with request(locked.address, path + given) as answer:
        assert answer.status == (200 if path in OPEN else 401)
        assert "Set-Cookie" not in answer.headers
        if path == "/healthz":
            assert json.loads(answer.read()) == {"ok": True}


def test_the_token_becomes_a_cookie_and_opens_everything(locked: Desk) -> None:
    assert locked.web.url.endswith(f"?token={TOKEN}")
    with request(locked.address, f"/?token={TOKEN}") as answer:
        assert answer.status == 200
        cookie, *flags = (part.strip() for part in answer.headers["Set-Cookie"].split(";"))
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
        assert TOKEN not in cookie
    assert ask(locked.address, "/api/state", Cookie=cookie)["score"] == 0.25
    assert ask(locked.address, "/api/state", Authorization=f"Bearer {TOKEN}")["score"] == 0.25
    assert change(locked.address, {"score": 0.3}, Cookie=cookie)[0] == 200
    with websocket(locked.address, Cookie=cookie) as page:
        assert next_message(page)[0]["width"] == 640
    with request(locked.address, f"/stream.mjpg?token={TOKEN}") as answer:
        assert answer.status == 200
    # In the address it only reads.
    with request(locked.address, f"/api/snapshot?token={TOKEN}", "POST") as answer:
        assert answer.status == 401
    with request(locked.address, "/live", **UPGRADE) as answer:
        assert answer.status == 401


def test_guessing_ends_soon(desk: Desk) -> None:
    web = WebOutput("127.0.0.1", 0, desk, token=TOKEN, limits=Limits(guesses=5, wait_s=0.01))

    def status(token: str) -> int:
        with request(web.url[7:].partition("/")[0], f"/?token={token}") as answer:
            return answer.status

    try:
        assert [status(f"guess{number}") for number in range(7)] == [401] * 5 + [429] * 2
        assert status(TOKEN) == 429  # who tries faster must not find the right one among the wrong ones
    finally:
        web.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.7.7", "board.local"])
def test_an_outside_address_needs_a_token(host: str, desk: Desk) -> None:
    assert len(find_token(host)) >= 20
    assert find_token(host) != find_token(host)
    with pytest.raises(InputError, match="there is no token"):
        WebOutput(host, 0, desk)


def test_an_outside_address_is_served_with_its_token(desk: Desk) -> None:
    web = WebOutput("0.0.0.0", 0, desk, token=TOKEN)
    try:
        port = web.url.rpartition(":")[2].partition("/")[0]
        assert "0.0.0.0" not in web.url
        with request(f"127.0.0.1:{port}", "/api/state", Host="board.local") as answer:
            assert answer.status == 401
        assert ask(f"127.0.0.1:{port}", "/api/state", Host="board.local", Authorization=f"Bearer {TOKEN}")
    finally:
        web.close()


def test_tokens_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    made = find_token("127.0.0.1", file)
    assert find_token("0.0.0.0", file) == made == file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert find_token("127.0.0.1") == find_token("localhost") == find_token("::1") == ""
    monkeypatch.setenv("EDGEWREN_TOKEN", TOKEN)
    assert find_token("127.0.0.1") == TOKEN
    monkeypatch.setenv("EDGEWREN_TOKEN", "short")
    with pytest.raises(InputError, match="EDGEWREN_TOKEN holds no token"):
        find_token("127.0.0.1")
    file.write_bytes(b"\xff" * 30)
    with pytest.raises(InputError, match="cannot read"):
        find_token("127.0.0.1", file)
    with pytest.raises(InputError, match="cannot make"):
        find_token("127.0.0.1", tmp_path / "nothing" / "token")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("LOCALHOST", True), ("0.0.0.0", False),
     ("", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example", False), ("192.168.0.1", False)],
)  # fmt: skip
def test_which_addresses_are_reachable_from_here_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_rates_fill_again_and_forget_old_addresses() -> None:
    now = 0.0
    rate = Rate(2, 3, lambda: now)
    assert [rate.take("a") for _ in range(4)] == [True, True, True, False]
    assert rate.take("b")
    now = 1.0
    assert [rate.take("a") for _ in range(3)] == [True, True, False]
    for number in range(3000):
        rate.take(f"other{number}")
    assert len(rate._buckets) <= 1024
