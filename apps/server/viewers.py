"""The page itself and those who watch: sockets of pages, and readers of the MJPEG stream."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import tornado.escape
import tornado.iostream
import tornado.web
import tornado.websocket
from tornado.log import app_log

from apps.server.guard import Guarded
from apps.server.hub import Variant
from apps.server.limits import Rate

PAGE = Path(__file__).resolve().parents[1] / "web"
_YEAR_S = 365 * 86400
_ASKS: dict[str, Variant] = {"next": "page", "next small": "small"}


class Page(Guarded):
    """``GET /``: the page, with the model's name in it."""

    def get(self) -> None:
        gate = self.site.gate
        if not gate.open:
            # The page removes the token from the address bar. A redirect would do that too, but then browsers keep a
            # strict cookie back when the first address was opened from elsewhere, such as a chat.
            self.set_cookie(gate.cookie, gate.pass_, httponly=True, samesite="Strict", path="/", max_age=_YEAR_S)
        text = (PAGE / "index.html").read_text(encoding="utf-8")
        name = tornado.escape.xhtml_escape(str(self.site.controls.state().get("model", "")))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text.replace("{{model}}", name))

    head = get


class Asset(Guarded, tornado.web.StaticFileHandler):
    """``GET /NAME.js`` and the like: what the page consists of.

    Not secret, and the page that asks for the token uses it.
    """

    public = True


class Live(Guarded, tornado.websocket.WebSocketHandler):
    """One page: each message from it asks for one picture, ``next`` or ``next small``."""

    def initialize(self) -> None:
        self._seen = 0
        self._asked: Variant | None = None
        self._sending: asyncio.Task[None] | None = None
        self._rate = Rate(self.site.limits.messages, 2 * self.site.limits.messages)

    async def prepare(self) -> None:
        await super().prepare()
        if len(self.site.hub.pages) >= self.site.limits.pages:
            raise tornado.web.HTTPError(429, reason="Too many viewers")

    def open(self, *args: str, **kwargs: str) -> None:
        self.set_nodelay(True)
        self.site.hub.pages.add(self)

    def on_message(self, message: str | bytes) -> None:
        variant = _ASKS.get(message) if isinstance(message, str) else None
        if variant is None or not self._rate.take(""):
            self.close(1008, "expected next, and not that often")
            return
        self._asked = variant
        if self._sending is None or self._sending.done():
            self._sending = asyncio.ensure_future(self._send())
            self._sending.add_done_callback(self._sent)

    async def _send(self) -> None:
        """Answers until nothing is asked any more; a page that asks twice without waiting gets one answer."""
        with contextlib.suppress(tornado.websocket.WebSocketClosedError):
            while self._asked:
                self._seen, data = await self.site.hub.next(self._seen, self._asked)
                self._asked = None
                try:
                    await asyncio.wait_for(self.write_message(data, binary=True), self.site.limits.reader_s)
                except TimeoutError:
                    self.close(1008, "too slow")

    def _sent(self, sending: asyncio.Task[None]) -> None:
        """A page whose answer failed would wait for it; one that is closed comes back."""
        if not sending.cancelled() and (error := sending.exception()):
            app_log.error("a page's picture failed", exc_info=error)
            self.close(1011, "failed")

    def on_close(self) -> None:
        self.site.hub.leave(self)
        if self._sending:
            self._sending.cancel()


class Stream(Guarded):
    """``GET /stream.mjpg``: the picture with boxes as MJPEG, for players and other programs."""

    def initialize(self) -> None:
        # A reader that was put off may leave before anything is sent.
        self._sending: asyncio.Task[None] | None = None

    async def get(self) -> None:
        """Sends pictures until the reader goes away or is too slow for them."""
        hub, limits = self.site.hub, self.site.limits
        if len(hub.streams) >= limits.streams:
            raise tornado.web.HTTPError(429, reason="Too many viewers")
        self.set_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        hub.streams.add(self)
        self._sending = asyncio.current_task()
        seen = 0
        try:
            # At once: a reader that left before it was heard is not told of by the connection, and would be counted
            # until the next picture, which a lost camera does not send.
            await self.flush()
            while True:
                seen, picture = await hub.next(seen, "stream")
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.write(head.encode() + picture + b"\r\n")
                await asyncio.wait_for(self.flush(), limits.reader_s)
        except TimeoutError:
            self.detach().close()
        except (tornado.iostream.StreamClosedError, asyncio.CancelledError):
            pass
        finally:
            hub.leave(self)

    def on_connection_close(self) -> None:
        # Between two pictures nothing is written, so a reader that left would go unnoticed.
        if self._sending:
            self._sending.cancel()
