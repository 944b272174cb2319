"""The last seconds of pictures, small and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator


class JpegRing:
    """Keeps encoded pictures of the last seconds.

    Args:
        seconds: How far back.
        most_bytes: Bytes of pictures at most; the oldest go first.
    """

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._pictures: deque[tuple[float, bytes]] = deque()
        self.bytes = 0

    def add(self, happened: float, picture: bytes) -> None:
        """Takes a picture; time that goes back (another source) empties the ring first."""
        if self._pictures and happened < self._pictures[-1][0]:
            self.clear()
        self._pictures.append((happened, picture))
        self.bytes += len(picture)
        while self._pictures and (self._pictures[0][0] < happened - self._seconds or self.bytes > self._most_bytes):
            self.bytes -= len(self._pictures.popleft()[1])

    def clear(self) -> None:
        """Forgets everything."""
        self._pictures.clear()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[tuple[float, bytes]]:
        """Times and pictures, oldest first."""
        return iter(self._pictures)
