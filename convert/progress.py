"""One moving line on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys


class Progress:
    """Shows ``what: done/total``.

    Args:
        what: The work.

    Use the object as a callback ``(done, total)``; the line clears itself when done equals total.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Updates the line."""
        if self._shown:
            end = "\r\x1b[K" if done >= total else ""
            print(f"\r{self._what}: {done}/{total}{end}", end="", file=sys.stderr, flush=True)
