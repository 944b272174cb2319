"""Sentences for the viewer about what is not as it should be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SHOWN_S = 60.0


class Notices:
    """Notices by subject: a newer one takes an older one's place. Safe from any thread.

    Args:
        say: Takes each new notice as well, as one line for the terminal or log.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._texts: dict[str, tuple[str, float]] = {}

    def set(self, subject: str, text: str, lasting: bool = True) -> None:
        """Says how a subject stands.

        Args:
            subject: What it is about.
            text: One sentence; empty when there is nothing to say any more.
            lasting: Whether it stays until it is replaced; otherwise it is shown for a minute.
        """
        with self._lock:
            known = self._texts.get(subject, ("", 0.0))[0] == text
            if known and (lasting or not text):
                return
            # Of what happened once more, the minute begins anew.
            self._texts.pop(subject, None)
            if text:
                self._texts[subject] = text, float("inf") if lasting else time.monotonic() + _SHOWN_S
        if text and not known:
            self._say(text)

    def texts(self) -> tuple[str, ...]:
        """What is to be shown now, newest last."""
        if not self._texts:
            return ()
        now = time.monotonic()
        with self._lock:
            self._texts = {subject: kept for subject, kept in self._texts.items() if kept[1] > now}
            return tuple(text for text, _ in self._texts.values())
