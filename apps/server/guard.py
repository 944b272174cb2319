"""What every request passes, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import tornado.web

from apps.moment import Controls
from apps.server.book import Book
from apps.server.encode import plain
from apps.server.gate import Gate
from apps.server.hub import Hub
from apps.server.limits import Limits, Rate
from apps.server.ports import Health, Library, Metrics

# The page loads nothing from elsewhere, may be framed by nobody, and no other site can read what it shows.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

_ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Edgewren</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/style.css">
<link rel="icon" href="data:,"><main class="ask"><h1>Edgewren</h1>
<p>This page needs its token. The program printed an address that holds it when it started.</p>{{wrong}}
<form><label for="token">Token</label><input id="token" name="token" type="password" autocomplete="off" required>
<button>Open</button></form></main></html>
"""
_WRONG = """
<p role="alert">The one that was given is not right, or no longer.</p>"""


@dataclass
class Site:
    """What the handlers share.

    Attributes:
        hub: Hands out the newest moment.
        book: The newest events.
        controls: What a viewer may ask of the session.
        gate: Who may look.
        limits: How much one may take.
        worker: For what takes longer than a moment.
        media: Stored files, if any are stored.
        metrics: For ``/metrics``; ``None`` answers 404.
        health: For ``/healthz``; ``None`` says that the server runs.
    """

    hub: Hub
    book: Book
    controls: Controls
    gate: Gate
    limits: Limits
    worker: Executor
    media: Library | None = None
    metrics: Metrics | None = None
    health: Health | None = None
    requests: Rate = field(init=False)
    changes: Rate = field(init=False)
    guesses: Rate = field(init=False)

    def __post_init__(self) -> None:
        self.requests = Rate(self.limits.requests, 4 * self.limits.requests)
        self.changes = Rate(self.limits.changes, 4 * self.limits.changes)
        self.guesses = Rate(self.limits.guesses / 60, self.limits.guesses)


class Guarded(tornado.web.RequestHandler):
    """Base of all handlers: asks for the token, counts, and sets the headers.

    Attributes:
        public: Whether it is answered without the token.
    """

    public = False

    @property
    def site(self) -> Site:
        """What the handlers share."""
        shared: Site = self.application.settings["site"]
        return shared

    @property
    def address(self) -> str:
        """Of the viewer."""
        return str(self.request.remote_ip)

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        site = self.site
        if not site.gate.knows(self.request.headers.get("Host", "")):
            raise tornado.web.HTTPError(403, reason="This name is not served here")
        if not site.requests.take(self.address):
            await self.put_off()
        if not self.public:
            await self._ask_for_token()

    async def put_off(self) -> None:
        """Refuses who asks too often, but not at once: a connection that waits cannot ask again."""
        await asyncio.sleep(self.site.limits.wait_s)
        raise tornado.web.HTTPError(429)

    async def _ask_for_token(self) -> None:
        site = self.site
        if site.gate.open:
            return
        if site.guesses.empty(self.address):
            await self.put_off()
        shown = site.gate.shows(self.request)
        if shown:
            return
        if shown is False:
            site.guesses.take(self.address)
        raise tornado.web.HTTPError(401)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 429:
            self.set_header("Retry-After", "5")
        if status_code == 401 and self.request.path == "/":
            self.set_header("Content-Type", "text/html; charset=utf-8")
            wrong = self.site.gate.shows(self.request) is False
            self.finish(_ASK.replace("{{wrong}}", _WRONG if wrong else ""))
        elif self.request.path.startswith("/api/"):
            self.answer({"error": self._reason})
        else:
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"{status_code} {self._reason}\n")

    def answer(self, document: Any) -> None:
        """Finishes with JSON."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(document, ensure_ascii=False, default=plain))


class Missing(Guarded):
    """Everything that is not there."""

    async def prepare(self) -> None:
        await super().prepare()
        raise tornado.web.HTTPError(404)
