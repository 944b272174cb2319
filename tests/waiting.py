"""Waiting for what another thread, process or machine does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_S = 1.0


class Patience:
    """So many seconds in which something has its chance to happen.

    Where the whole machine stands still for a while, as virtual ones do, the clock goes on and nothing else does: what
    passes between two looks counts as one second at most.

    Args:
        seconds: How long to wait.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._last = time.monotonic()
        self.looks = 0

    def lasts(self) -> bool:
        """Whether to look once more; asked once per look."""
        now = time.monotonic()
        self._left -= min(now - self._last, _LOOK_S)
        self._last = now
        self.looks += 1
        return self._left > 0


def until(
    condition: Callable[[], T],
    otherwise: str | Callable[[], str] = "it did not become true",
    seconds: float = 20,
    pause: float = 0.02,
    rest: Callable[[float], object] = time.sleep,
) -> T:
    """Waits until something is true.

    Args:
        condition: Looked at again and again.
        otherwise: What to say when it does not become true.
        seconds: How long to wait, as :class:`Patience` counts them.
        pause: Seconds between two looks.
        rest: How to spend them.

    Returns:
        What the condition gave at last.

    Raises:
        AssertionError: It did not become true.
    """
    patience = Patience(seconds)
    while not (value := condition()):
        if not patience.lasts():
            said = otherwise if isinstance(otherwise, str) else otherwise()
            raise AssertionError(f"{said} ({seconds:g} s, {patience.looks} looks)")
        rest(pause)
    return value
