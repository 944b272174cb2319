"""The newest moment for any number of viewers, each as fast as it can take it.

Nothing is encoded before somebody asks, and everything once however many ask. Encoding has a thread of its own: the
session hands a moment over and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Literal

from apps.moment import Count, Figures, Moment
from apps.server import encode

_SPACING_S = 1 / 45
_UNWATCHED_S = 1.0
Variant = Literal["page", "small", "stream"]


@dataclass(frozen=True)
class News:
    """What there is to show.

    Attributes:
        serial: Counts up with every moment and every word without a picture.
        moment: The newest picture.
        pictured: The moment's serial.
        figures: The newest figures.
        counts: The newest counts.
    """

    serial: int = 0
    moment: Moment | None = None
    pictured: int = 0
    figures: Figures | None = None
    counts: tuple[Count, ...] = ()


class Hub:
    """Hands the newest to viewers; lives in the server's event loop.

    Args:
        loop: The server's.
        worker: Where encoding is done; one thread, so that things are encoded in their order.
        more: Further facts for every message.

    Attributes:
        pages: Open page sockets.
        streams: Open MJPEG streams.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, worker: Executor, more: Callable[[], dict[str, Any]]) -> None:
        self._loop = loop
        self._worker = worker
        self._more = more
        self._lock = threading.Lock()
        self._news = News()
        self._held_since = float("-inf")
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._encoded: dict[tuple[int, Variant], asyncio.Future[bytes]] = {}
        self._latest: dict[Variant, tuple[int, float]] = {}
        self._facts: tuple[tuple[int, bool], bytes] = ((0, False), b"")
        self.pages: set[Any] = set()
        self.streams: set[Any] = set()

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return bool(self.pages or self.streams)

    @property
    def news(self) -> News:
        """What there is to show now."""
        return self._news

    def publish(self, moment: Moment | None, figures: Figures) -> None:
        """Makes a moment, or figures alone, the newest; from any thread."""
        with self._lock:
            last = self._news
            serial = last.serial + 1
            counts = moment.counts if moment else last.counts
            # A picture that is held is memory the next one cannot have; without viewers one a second is enough, for
            # whoever comes while the source is away.
            if moment and (self.watched or time.monotonic() - self._held_since >= _UNWATCHED_S):
                self._held_since = time.monotonic()
                self._news = News(serial, moment, serial, figures, counts)
            else:
                self._news = News(serial, last.moment, last.pictured, figures, counts)
        # Whoever waits has said so before looking at the news, so nobody is missed, and an unwatched session is not
        # even a call.
        if self._waiting:
            with contextlib.suppress(RuntimeError):  # the server has been closed
                self._loop.call_soon_threadsafe(self._wake)

    async def next(self, seen: int, variant: Variant) -> tuple[int, bytes]:
        """What is new to a viewer, once there is something.

        Args:
            seen: Serial of what it saw last; 0 for nothing yet.
            variant: ``page``, ``small`` (a narrower picture), ``stream`` (a JPEG with boxes, never figures alone).

        Returns:
            The serial, and the bytes to send.
        """
        self._waiting += 1
        try:
            while True:
                news = self._news
                if (news.pictured if variant == "stream" else news.serial) <= seen:
                    await self._arrived.wait()
                    continue
                # No eye sees more, and whoever comes in between gets what the others had.
                serial, when = self._latest.get(variant, (0, -1.0))
                rest = when + _SPACING_S - self._loop.time()
                if rest <= 0 or news.pictured <= seen:
                    break
                if serial > seen and (serial, variant) in self._encoded:
                    return serial, await asyncio.shield(self._encoded[serial, variant])
                await asyncio.sleep(rest)
        finally:
            self._waiting -= 1
        # A cancelled viewer must not take the picture away from the others.
        return news.serial, await asyncio.shield(self._once(news, variant, news.pictured > seen))

    def leave(self, viewer: Any) -> None:
        """Forgets a viewer, and with the last one what was encoded."""
        self.pages.discard(viewer)
        self.streams.discard(viewer)
        if not self.watched:
            self._encoded.clear()
            self._latest.clear()
            self._facts = ((0, False), b"")

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()

    def _once(self, news: News, variant: Variant, pictured: bool) -> asyncio.Future[bytes]:
        """Encodes for the first who asks; everybody else gets the same bytes."""
        key = (news.serial if pictured else -news.serial, variant)
        if key not in self._encoded:
            if pictured:
                self._latest[variant] = (news.serial, self._loop.time())
            kept = {news.serial, -news.serial, *(serial for serial, _ in self._latest.values())}
            self._encoded = {old: made for old, made in self._encoded.items() if old[0] in kept}
            self._encoded[key] = self._loop.run_in_executor(self._worker, self._encode, news, variant, pictured)
        return self._encoded[key]

    def _encode(self, news: News, variant: Variant, pictured: bool) -> bytes:
        moment = news.moment if pictured else None
        if variant == "stream":
            return encode.drawn(moment) if moment else b""
        if self._facts[0] != (news.serial, pictured):
            text = encode.facts(moment, news.figures or Figures(), self._more())
            self._facts = ((news.serial, pictured), text)
        return encode.message(self._facts[1], moment, variant == "small")
