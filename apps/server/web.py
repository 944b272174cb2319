"""The live page as an output of the session, served by Tornado from a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tornado.httpserver
import tornado.iostream
import tornado.netutil
import tornado.web

from apps.moment import Controls, Figures, Moment
from apps.server import api, viewers
from apps.server.book import Book
from apps.server.gate import Gate, is_loopback
from apps.server.guard import Missing, Site
from apps.server.hub import Hub
from apps.server.limits import Limits, Rate
from apps.server.ports import Health, Library, Metrics
from runtime.errors import InputError

_STOP_TIMEOUT_S = 5
_GOODBYE_S = 1.0
_ROUTES: list[Any] = [
    (r"/", viewers.Page),
    (r"/live", viewers.Live),
    (r"/stream\.mjpg", viewers.Stream),
    (r"/api/state", api.State),
    (r"/api/change", api.Change),
    (r"/api/snapshot", api.Snapshot),
    (r"/api/events", api.Events),
    (r"/api/events/(\d{1,15})\.jpg", api.Picture),
    (r"/api/media", api.Media),
    (r"/media/([^/]{1,200})", api.MediaFile),
    (r"/metrics", api.Metrics),
    (r"/healthz", api.Healthz),
    (r"/([a-z]{1,20}\.(?:js|css|svg|webmanifest))", viewers.Asset, {"path": str(viewers.PAGE)}),
]


class WebOutput:
    """Serves the live page. An :class:`apps.moment.Output`.

    Args:
        host: Address to listen on; ``127.0.0.1`` is reachable from this machine alone.
        port: Port to listen on; 0 takes a free one.
        controls: What viewers may ask of the session.
        token: What viewers must know (:func:`apps.server.gate.find_token`); empty for a loopback address only.
        media: Stored recordings, clips and snapshots.
        metrics: Text for ``/metrics``.
        health: State for ``/healthz``.
        limits: How much viewers may take.

    Attributes:
        smooth: Whether it wants every picture of the camera, with expected boxes between results.
        url: Where the page is, with the token.

    Raises:
        InputError: The address is taken, does not exist here, or is reachable from outside and there is no token.
    """

    smooth = True

    def __init__(
        self,
        host: str,
        port: int,
        controls: Controls,
        *,
        token: str = "",
        media: Library | None = None,
        metrics: Metrics | None = None,
        health: Health | None = None,
        limits: Limits | None = None,
    ) -> None:
        local = is_loopback(host)
        if not token and not local:
            raise InputError(
                f"{host} can be reached from other machines and there is no token",
                "expected a token for whoever may look",
                "serve on 127.0.0.1, or give --token-file",
            )
        sockets = _bind(host, port)
        bound = sockets[0].getsockname()[1]
        self.url = f"http://{_shown(host)}:{bound}/" + (f"?token={token}" if token else "")
        self._book = Book()
        self._worker = ThreadPoolExecutor(1, "edgewren-encode")
        self._hub: Hub
        self._loop: asyncio.AbstractEventLoop
        self._finish: asyncio.Event
        ready = threading.Event()

        async def serve() -> None:
            self._loop, self._finish = asyncio.get_running_loop(), asyncio.Event()
            self._hub = Hub(self._loop, self._worker, lambda: _more(controls, self._book))
            gate = Gate(token, local, bound)
            bounds = limits or Limits()
            site = Site(self._hub, self._book, controls, gate, bounds, self._worker, media, metrics, health)
            await _serve(site, sockets, ready, self._finish)

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), name="edgewren-web", daemon=True)
        self._thread.start()
        ready.wait()

    @property
    def viewers(self) -> int:
        """Pages and streams that are open."""
        return len(self._hub.pages) + len(self._hub.streams)

    def show(self, moment: Moment) -> None:
        """Shows a moment to whoever watches."""
        if moment.events:
            self._worker.submit(self._book.add, moment)
        self._hub.publish(moment, moment.figures)

    def tell(self, figures: Figures) -> None:
        """Shows figures without a picture."""
        self._hub.publish(None, figures)

    def close(self) -> None:
        """Tells the pages that it is over and frees the port."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._finish.set)
            self._thread.join(_STOP_TIMEOUT_S)
        self._worker.shutdown(wait=True, cancel_futures=True)


def _more(controls: Controls, book: Book) -> dict[str, Any]:
    return {"version": controls.state().get("version", 0), "event": book.newest}


async def _serve(site: Site, sockets: list[socket.socket], ready: threading.Event, finish: asyncio.Event) -> None:
    application = tornado.web.Application(
        _ROUTES,
        default_handler_class=Missing,
        site=site,
        cross_origin_protection=True,
        websocket_max_message_size=site.limits.message,
        websocket_ping_interval=20,
        log_function=lambda handler: None,
    )
    server = _Server(
        application,
        max_header_size=16384,
        max_body_size=4 * site.limits.body,
        idle_connection_timeout=site.limits.header_s,
        body_timeout=site.limits.header_s,
    )
    server.limit(site.limits)
    server.add_sockets(sockets)
    ready.set()
    await finish.wait()
    server.stop()
    for page in list(site.hub.pages):
        page.close(1001, "finished")
    for stream in list(site.hub.streams):
        stream.on_connection_close()
    # A page that is cut off before it has read the last word takes it for a lost connection.
    end = time.monotonic() + _GOODBYE_S
    while site.hub.pages and time.monotonic() < end:
        await asyncio.sleep(0.01)
    await asyncio.wait([asyncio.ensure_future(server.close_all_connections())], timeout=1)


class _Server(tornado.httpserver.HTTPServer):
    """Turns connections away that are too many."""

    def limit(self, limits: Limits) -> None:
        """Sets the bounds; before the first connection."""
        self._limits = limits
        self._rate = Rate(limits.connects, 4 * limits.connects)
        self._open: dict[tornado.iostream.IOStream, str] = {}

    def handle_stream(self, stream: tornado.iostream.IOStream, address: Any) -> None:
        whose = str(address[0])
        self._open = {old: other for old, other in self._open.items() if not old.closed()}
        same = sum(other == whose for other in self._open.values())
        full = len(self._open) >= self._limits.connections or same >= self._limits.per_address
        if full or not self._rate.take(whose):
            stream.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nConnection: close\r\n\r\n")
            stream.close()
            return
        self._open[stream] = whose
        super().handle_stream(stream, address)


def _shown(host: str) -> str:
    """The name to print for an address: one that a browser can open."""
    if host in ("0.0.0.0", "::", ""):
        # Asks the routing table which address faces outwards; nothing is sent.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
                host = probe.getsockname()[0]
            except OSError:
                host = "127.0.0.1"
    return f"[{host}]" if ":" in host else host


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
