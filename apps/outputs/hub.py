"""The newest result for any number of viewers, each as fast as it can take it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Packet:
    """One frame on its way to viewers.

    Attributes:
        number: Counts up from 1.
        message: What the page's socket sends: length of the JSON (4 bytes, big-endian), the JSON, the plain JPEG;
            empty when no page was open.
        drawn: JPEG with the boxes on it, for the MJPEG stream; empty when nobody watched that.
    """

    number: int
    message: bytes = b""
    drawn: bytes = b""


class Hub:
    """Hands the newest packet to viewers; lives in the server's event loop.

    Attributes:
        pages: Open page sockets.
        streams: Open MJPEG streams.
    """

    def __init__(self) -> None:
        self._newest = Packet(0)
        self._arrived = asyncio.Event()
        self.pages: set[Any] = set()
        self.streams: set[Any] = set()

    @property
    def watched(self) -> bool:
        """Whether anybody looks at all."""
        return bool(self.pages or self.streams)

    def publish(self, packet: Packet) -> None:
        """Makes a packet the newest and wakes everybody who waits."""
        self._newest = packet
        self._arrived.set()
        self._arrived = asyncio.Event()

    def leave(self, viewer: Any) -> None:
        """Forgets a viewer, and with the last one the packet: who comes next must not see an old picture."""
        self.pages.discard(viewer)
        self.streams.discard(viewer)
        if not self.watched:
            self._newest = Packet(self._newest.number)

    async def next_message(self, number: int) -> Packet:
        """The newest packet for pages, once there is one after ``number``."""
        while self._newest.number <= number or not self._newest.message:
            await self._arrived.wait()
        return self._newest

    async def next_drawn(self, number: int) -> Packet:
        """The newest packet for streams, once there is one after ``number``."""
        while self._newest.number <= number or not self._newest.drawn:
            await self._arrived.wait()
        return self._newest
