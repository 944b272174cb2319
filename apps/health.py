"""Is the session alive? For the page's ``/healthz``, a deployment's probe and systemd's watchdog."""

from __future__ import annotations

from typing import Literal

_LIMIT_S = 10.0
# Of the time between two results that were asked for: the governor may look at fewer.
_INTERVALS = 3


def patience(max_fps: float | None) -> float:
    """Seconds without a result that are no fault.

    Args:
        max_fps: Most results a second that are wanted; ``None`` for as many as there are.
    """
    return _LIMIT_S + (_INTERVALS / max_fps if max_fps else 0.0)


class Health:
    """Remembers when the session last got something done.

    A source that stopped and is tried again is no fault of the app: a restart would not bring the camera back. A
    network that does not answer while frames wait for it is one.

    Args:
        limit_s: Seconds without a result after which the session counts as stuck.
    """

    def __init__(self, limit_s: float = _LIMIT_S) -> None:
        self._limit = limit_s
        self._last: float | None = None
        self._source = "live"

    def beat(self, now: float, source: Literal["live", "reopening", "ended"] = "live") -> None:
        """Notes that a result came, or that the session is waiting for a source that is being reopened.

        Args:
            now: ``time.monotonic()`` seconds.
            source: How the source is.
        """
        self._last = now
        self._source = source

    def check(self, now: float) -> tuple[bool, str]:
        """Whether all is well, and one line that says how things are.

        Args:
            now: ``time.monotonic()`` seconds.
        """
        if self._last is None:
            return False, "starting: no frame yet"
        silent = now - self._last
        if silent > self._limit:
            return False, f"stuck: no result for {silent:.0f} s"
        if self._source != "live":
            return True, f"waiting: the source is {self._source}"
        return True, "live"
