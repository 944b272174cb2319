"""The live page: picture, boxes and figures in a browser, served by Tornado from its own thread.

A page asks for the next frame when it has shown the last, over a WebSocket, and gets the newest: a slow viewer sees
fewer frames, never older ones. Picture and boxes travel in one message, so they always belong together. Frames are
encoded once however many watch, and not at all when nobody does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tornado.escape
import tornado.httpserver
import tornado.iostream
import tornado.netutil
import tornado.web
import tornado.websocket

from apps.outputs.hub import Hub, Packet
from runtime.card import ModelCard
from runtime.detections import Detections
from runtime.draw import annotate, bgr
from runtime.errors import InputError
from runtime.frame import Frame

_PAGE = Path(__file__).resolve().parents[1] / "web"
_MAX_VIEWERS = 32
_MAX_WIDTH = 1280
_JPEG_QUALITY = 80
_STOP_TIMEOUT_S = 5

# The page loads nothing from elsewhere and may be framed by nobody.
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class WebOutput:
    """Serves the live page.

    Args:
        host: Address to listen on; ``127.0.0.1`` is reachable from this machine alone.
        port: Port to listen on; 0 takes a free one.
        card: The running model's card.

    Attributes:
        url: Where the page is.

    Raises:
        InputError: The address is taken or does not exist here.
    """

    def __init__(self, host: str, port: int, card: ModelCard) -> None:
        self._labels = card.labels.names
        self._number = 0
        sockets = _bind(host, port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{sockets[0].getsockname()[1]}"
        self._hub: Hub
        self._loop: asyncio.AbstractEventLoop
        self._finish: asyncio.Event
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(sockets, card, ready)), name="edgewren-web", daemon=True
        )
        self._thread.start()
        ready.wait()

    def write(self, frame: Frame, found: Detections) -> None:
        """Shows a result without figures."""
        self.show(frame, found, {})

    def show(self, frame: Frame, found: Detections, figures: dict[str, Any]) -> None:
        """Shows a result to whoever watches.

        Args:
            frame: The picture.
            found: What was found in it.
            figures: Frame rate, latency and drops for the page; see :mod:`apps.live`.
        """
        if not self._hub.watched:
            return
        self._number += 1
        facts = found.to_dict(frame, self._labels) | {"number": self._number, **figures}
        text = json.dumps(facts, ensure_ascii=False).encode()
        message, drawn = b"", b""
        if self._hub.pages:
            message = struct.pack(">I", len(text)) + text + _jpeg(_plain(frame))
        if self._hub.streams:
            drawn = _jpeg(annotate(frame, found, self._labels))
        self._loop.call_soon_threadsafe(self._hub.publish, Packet(self._number, message, drawn))

    def close(self) -> None:
        """Tells the pages that it is over and frees the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._finish.set)
            self._thread.join(_STOP_TIMEOUT_S)

    async def _serve(self, sockets: list[socket.socket], card: ModelCard, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._hub, self._finish = Hub(), asyncio.Event()
        shared = {"hub": self._hub, "card": card}
        application = tornado.web.Application(
            [
                (r"/", _Page, shared),
                (r"/live", _Live, shared),
                (r"/stream\.mjpg", _Stream, shared),
                (r"/((?:app\.js|style\.css))", _Static, {"path": str(_PAGE)}),
            ],
            default_handler_class=_Missing,
            websocket_max_message_size=256,
            websocket_ping_interval=20,
            log_function=lambda handler: None,
        )
        server = tornado.httpserver.HTTPServer(application, max_header_size=16384, max_body_size=0)
        server.add_sockets(sockets)
        ready.set()
        await self._finish.wait()
        server.stop()
        for page in list(self._hub.pages):
            page.close(1001, "finished")
        await asyncio.wait([asyncio.ensure_future(server.close_all_connections())], timeout=1)


def _bind(host: str, port: int) -> list[socket.socket]:
    try:
        return tornado.netutil.bind_sockets(port, host)
    except PermissionError:
        raise InputError(f"port {port} needs root", "expected a port from 1024 on", "choose another port") from None
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(
            f"cannot serve on {host} port {port} ({reason})", "", "choose another address or port"
        ) from None


def _plain(frame: Frame) -> npt.NDArray[np.uint8]:
    pixels = bgr(frame)
    if frame.width <= _MAX_WIDTH:
        return pixels
    height = max(1, round(frame.height * _MAX_WIDTH / frame.width))
    return np.asarray(cv2.resize(pixels, (_MAX_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    good, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes() if good else b""


class _Base(tornado.web.RequestHandler):
    """Headers and error texts of every answer."""

    def initialize(self, hub: Hub, card: ModelCard) -> None:
        self.hub = hub
        self.card = card

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in _SECURITY_HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {self._reason}\n")


class _Page(_Base):
    def get(self) -> None:
        """The page, with the model's name in it."""
        text = (_PAGE / "index.html").read_text(encoding="utf-8")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text.replace("{{model}}", tornado.escape.xhtml_escape(self.card.name)))


class _Static(tornado.web.StaticFileHandler):
    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in _SECURITY_HEADERS.items():
            self.set_header(name, value)


class _Missing(_Base):
    def initialize(self) -> None:  # type: ignore[override]
        pass

    def prepare(self) -> None:
        raise tornado.web.HTTPError(404)


class _Live(tornado.websocket.WebSocketHandler):
    """One page: each message from it asks for one frame."""

    def initialize(self, hub: Hub, card: ModelCard) -> None:
        self.hub = hub
        self._shown = 0
        self._waiting: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        if len(self.hub.pages) >= _MAX_VIEWERS:
            raise tornado.web.HTTPError(503)

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self.hub.pages.add(self)

    def on_message(self, message: str | bytes) -> None:
        # A page that asks twice without waiting gets one answer.
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.ensure_future(self._send_next())

    async def _send_next(self) -> None:
        packet = await self.hub.next_message(self._shown)
        self._shown = packet.number
        with contextlib.suppress(tornado.websocket.WebSocketClosedError):
            await self.write_message(packet.message, binary=True)

    def on_close(self) -> None:
        self.hub.leave(self)
        if self._waiting:
            self._waiting.cancel()


class _Stream(_Base):
    """The picture with boxes as MJPEG, for players and other programs."""

    async def get(self) -> None:
        """Sends frames until the reader goes away."""
        if len(self.hub.streams) >= _MAX_VIEWERS:
            raise tornado.web.HTTPError(503)
        self.set_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.hub.streams.add(self)
        self._sending = asyncio.current_task()
        shown = 0
        try:
            while True:
                packet = await self.hub.next_drawn(shown)
                shown = packet.number
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(packet.drawn)}\r\n\r\n"
                self.write(head.encode() + packet.drawn + b"\r\n")
                await self.flush()
        except (tornado.iostream.StreamClosedError, asyncio.CancelledError):
            pass
        finally:
            self.hub.leave(self)

    def on_connection_close(self) -> None:
        # Between two frames nothing is written, so a reader that left would go unnoticed.
        if self._sending:
            self._sending.cancel()
