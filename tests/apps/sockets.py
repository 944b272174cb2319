"""Bare sockets and requests, hand-made so that they can misbehave."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
}


@contextlib.contextmanager
def request(
    address: str, path: str, method: str = "GET", body: bytes | None = None, /, **headers: str
) -> Iterator[http.client.HTTPResponse]:
    """A request; ``_`` in a header's name stands for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request(method, path, body, named)
        with connection.getresponse() as answer:
            yield answer


def ask(address: str, path: str, **headers: str) -> Any:
    """The JSON of a request that succeeds."""
    with request(address, path, **headers) as answer:
        assert answer.status == 200, answer.read()
        return json.loads(answer.read())


def change(address: str, wanted: object, **headers: str) -> tuple[int, Any]:
    """Status and JSON of a change of settings."""
    body = wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode()
    headers = {"Content_Type": "application/json"} | headers
    with request(address, "/api/change", "POST", body, **headers) as answer:
        return answer.status, json.loads(answer.read() or b"{}")


def connect(address: str, receive_buffer: int = 0) -> socket.socket:
    host, port = address.split(":")
    made = socket.socket()
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    made.settimeout(10)
    made.connect((host, int(port)))
    return made


def websocket(address: str, receive_buffer: int = 0, **headers: str) -> socket.socket:
    """An open WebSocket of the page's."""
    made = connect(address, receive_buffer)
    key = base64.b64encode(os.urandom(16)).decode()
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    made.sendall(
        f"GET /live HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(made, 1)
    assert head.startswith(b"HTTP/1.1 101"), head
    return made


def masked(payload: bytes) -> bytes:
    """A text message as a client sends it."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return b"\x81" + length + b"\0\0\0\0" + payload


def receive(made: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = made.recv(count - len(data))
        if not chunk:
            raise ConnectionError("the server hung up")
        data += chunk
    return bytes(data)


def message(made: socket.socket) -> tuple[dict[str, Any], bytes]:
    """The next message from the server: facts and JPEG."""
    head = receive(made, 2)
    if head[0] != 0x82:
        raise ConnectionError(f"no message but {head!r}")
    size = head[1]
    if size == 126:
        size = struct.unpack(">H", receive(made, 2))[0]
    elif size == 127:
        size = struct.unpack(">Q", receive(made, 8))[0]
    data = receive(made, size)
    length = struct.unpack(">I", data[:4])[0]
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def next_message(made: socket.socket, text: bytes = b"next") -> tuple[dict[str, Any], bytes]:
    """Asks for a picture and waits for it."""
    made.sendall(masked(text))
    return message(made)
