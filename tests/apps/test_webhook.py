"""Events posted to a real HTTP server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from apps.outputs import webhook
from apps.outputs.webhook import WebhookOutput
from runtime.errors import InputError
from tests.apps.moments import event, moment
from tests.waiting import until


class Receiver(HTTPServer):
    """Answers with the given statuses in turn, the last one for ever."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = statuses
        self.bodies: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook?key=secret"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        status = self.server.statuses.pop(0) if len(self.server.statuses) > 1 else self.server.statuses[0]
        self.send_response(status)
        self.send_header("Location", "/elsewhere")  # what 3xx answers say
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    server = Receiver(list(request.param))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_PAUSES_S", (0.05, 0.05))


@pytest.mark.parametrize("receiver", [[204]], indirect=True)
def test_events_arrive_in_order(receiver: Receiver) -> None:
    said: list[str] = []
    output = WebhookOutput(receiver.url, said.append)
    output.show(moment(1))
    output.show(moment(2, events=(event(1), event(2, "gate"))))
    output.close()
    assert [(body["number"], body["shape"], body["label"]) for body in receiver.bodies] == [
        (1, "door", "person"),
        (2, "gate", "person"),
    ]
    assert output.left_out == 0
    assert said == []


@pytest.mark.parametrize(
    ("receiver", "posts", "lost"),
    [([500, 204], 2, 0), ([404], 1, 1), ([302], 1, 1), ([500], 3, 1)],
    indirect=["receiver"],
)
def test_what_is_tried_again(receiver: Receiver, posts: int, lost: int) -> None:
    said: list[str] = []
    output = WebhookOutput(receiver.url, said.append)
    output.show(moment(1, events=(event(),)))
    until(lambda: len(receiver.bodies) == posts)
    until(lambda: output.left_out == lost)
    output.close()
    assert len(receiver.bodies) == posts
    assert [line.split(";")[0] for line in said] == (
        [f"webhook: http://127.0.0.1 does not take events (status {receiver.statuses[-1]})"] if lost else []
    )


@pytest.mark.parametrize("receiver", [[404, 404, 204]], indirect=True)
def test_failing_is_told_once_and_so_is_recovery(receiver: Receiver) -> None:
    said: list[str] = []
    output = WebhookOutput(receiver.url, said.append)
    output.show(moment(1, events=(event(1), event(2), event(3))))
    output.close()
    assert [("does not" in line, "again" in line) for line in said] == [(True, False), (False, True)]
    assert "secret" not in " ".join(said)


def test_nobody_there_blocks_nobody() -> None:
    output = WebhookOutput("http://127.0.0.1:9/none", lambda line: None)
    start = time.monotonic()
    for _ in range(400):
        output.show(moment(1, events=(event(),)))
    assert output.left_out >= 400 - 256 - 2
    output.close()
    assert time.monotonic() - start < 8
    # Also when the queue was full, the thread has ended.
    assert not any(thread.name == "edgewren-webhook" for thread in threading.enumerate())


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://host/x", "file:///etc/passwd", "http://", "http://host:0/", "http://[/", "x"),
        *("http://me:secret@host/x", "https://me:secret@host:8080/x", "http://host/a b?secret", "http://host/\u00e9"),
    ],
)
def test_addresses_that_cannot_be_posted_to(url: str) -> None:
    with pytest.raises(InputError, match="cannot be posted to") as caught:
        WebhookOutput(url, lambda line: None)
    assert "secret" not in str(caught.value)
