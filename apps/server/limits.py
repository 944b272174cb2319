"""What one viewer, and all together, may take."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MOST_ADDRESSES = 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of the server.

    Attributes:
        connections: Open connections, all together.
        per_address: Open connections from one address.
        connects: New connections per second from one address; four times as many at once.
        pages: Pages that watch, all together.
        streams: Readers of the MJPEG stream, all together.
        body: Bytes of a request's body.
        message: Bytes of a message from a page.
        messages: Messages per second from one page.
        requests: Requests per second from one address; four times as many at once.
        changes: Of these, changes and snapshots per second; four times as many at once.
        guesses: Wrong tokens per minute from one address.
        wait_s: Seconds until who asked too often hears so.
        header_s: Seconds until a connection has sent a whole request.
        reader_s: Seconds until a reader has taken a picture.
    """

    connections: int = 160
    per_address: int = 96
    connects: float = 60
    pages: int = 32
    streams: int = 16
    body: int = 64 * 1024
    message: int = 64
    messages: float = 120
    requests: float = 100
    changes: float = 10
    guesses: float = 10
    wait_s: float = 1
    header_s: float = 20
    reader_s: float = 10


class Rate:
    """A bucket of permissions per address, refilled steadily.

    Args:
        per_second: How fast a bucket fills.
        burst: How many it holds.
        clock: Seconds that only grow.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def empty(self, address: str) -> bool:
        """Whether nothing is left for an address."""
        return self._left(address) < 1

    def take(self, address: str) -> bool:
        """Takes one permission; ``False`` when none is left."""
        left = self._left(address)
        good = left >= 1
        self._buckets[address] = (left - good, self._clock())
        self._buckets.move_to_end(address)
        # Addresses that have not been seen for longest are forgotten, so that many of them fill no memory.
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return good

    def _left(self, address: str) -> float:
        left, when = self._buckets.get(address, (self._burst, self._clock()))
        return min(self._burst, left + (self._clock() - when) * self._per_second)
