"""Settings, events, files and figures for the page and for programs: ``/api/...``, ``/media/...``, ``/metrics``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import tornado.web

from apps.metrics import CONTENT_TYPE
from apps.server.guard import Guarded, Site
from apps.server.ports import Entry
from runtime.errors import EdgewrenError, InputError
from runtime.grammar import is_number


def document(site: Site) -> dict[str, Any]:
    """All that ``/api/state`` says."""
    news = site.hub.news
    return site.controls.state() | {
        "figures": asdict(news.figures) if news.figures else None,
        "counts": [asdict(count) for count in news.counts],
        "event": site.book.newest,
    }


def stored(site: Site) -> Sequence[Entry]:
    """The stored files, newest first."""
    return site.media.entries() if site.media else ()


class State(Guarded):
    """``GET /api/state``: settings, figures and counts."""

    def get(self) -> None:
        self.answer(document(self.site))

    head = get


class _Asking(Guarded):
    """Base of what changes something."""

    async def prepare(self) -> None:
        await super().prepare()
        if self.request.method == "POST" and not self.site.changes.take(self.address):
            await self.put_off()
        if len(self.request.body) > self.site.limits.body:
            raise tornado.web.HTTPError(413)

    def refuse(self, error: EdgewrenError) -> None:
        """Passes a sentence of the session on."""
        self.set_status(400 if isinstance(error, InputError) else 409)
        self.answer({"error": " ".join(str(error).split())})


class Change(_Asking):
    """``POST /api/change``: a JSON object of settings; answers with the new state."""

    def post(self) -> None:
        if self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise tornado.web.HTTPError(415, reason="Expected application/json")
        try:
            wanted = json.loads(self.request.body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise tornado.web.HTTPError(400, reason="Not JSON") from None
        if not isinstance(wanted, dict):
            raise tornado.web.HTTPError(400, reason="Expected a JSON object of settings")
        try:
            self.site.controls.change(wanted)
        except EdgewrenError as error:
            self.refuse(error)
        else:
            self.answer(document(self.site))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Snapshot(_Asking):
    """``POST /api/snapshot``: stores the picture; answers with its name."""

    async def post(self) -> None:
        try:
            work = asyncio.get_running_loop().run_in_executor(self.site.worker, self.site.controls.snapshot)
            name = await work
        except EdgewrenError as error:
            self.refuse(error)
        else:
            self.answer({"name": name})


class Events(Guarded):
    """``GET /api/events?after=N``: events after one, newest first."""

    def get(self) -> None:
        after = self.get_query_argument("after", "0")
        if not is_number(after, 15):
            raise tornado.web.HTTPError(400, reason="Expected a number in after")
        clips = [entry for entry in stored(self.site) if entry.kind == "clip" and entry.event is not None]

        def clip_of(number: int) -> str | None:
            return next((one.name for one in clips if (one.event or 0) <= number <= (one.last_event or 0)), None)

        self.answer({"events": self.site.book.after(int(after), clip_of)})

    head = get


class Picture(Guarded):
    """``GET /api/events/N.jpg``: the object of an event."""

    def get(self, number: str) -> None:
        picture = self.site.book.picture(int(number))
        if not picture:
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", "image/jpeg")
        # An event's number is never used again.
        self.set_header("Cache-Control", "private, max-age=86400, immutable")
        self.finish(picture)

    head = get


class Media(Guarded):
    """``GET /api/media``: the stored files, newest first."""

    def get(self) -> None:
        keys = ("name", "kind", "bytes", "when", "event", "last_event")
        self.answer({"media": [{key: getattr(entry, key) for key in keys} for entry in stored(self.site)]})

    head = get


class MediaFile(Guarded, tornado.web.StaticFileHandler):
    """``GET /media/NAME``: a stored file, in parts if asked.

    The name is looked up among the stored files; nothing of it becomes part of a path.
    """

    def initialize(self) -> None:  # type: ignore[override]
        tornado.web.StaticFileHandler.initialize(self, path="/")

    def parse_url_path(self, url_path: str) -> str:
        found = self.site.media.find(url_path) if self.site.media else None
        if found is None or not found.is_file():
            raise tornado.web.HTTPError(404)
        return str(found)

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        return path

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        return absolute_path

    def set_extra_headers(self, path: str) -> None:
        # Stored files are complete and never change.
        self.set_header("Cache-Control", "private, max-age=86400")
        if self.get_query_argument("download", None) is not None:
            self.set_header("Content-Disposition", "attachment")


class Metrics(Guarded):
    """``GET /metrics``: for Prometheus."""

    def get(self) -> None:
        if self.site.metrics is None:
            raise tornado.web.HTTPError(404)
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self.site.metrics())

    head = get


class Healthz(Guarded):
    """``GET /healthz``: 200 or 503, without the token: whoever asks learns no more than that."""

    public = True

    def get(self) -> None:
        fine, line = self.site.health() if self.site.health else (True, "serving")
        told = self.site.gate.open or bool(self.site.gate.shows(self.request))
        self.set_status(200 if fine else 503)
        self.answer({"ok": fine, "detail": line} if told else {"ok": fine})

    head = get
