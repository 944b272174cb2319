"""How far a training is: a moving line on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time

from convert.train.checkpoint import State

_TERMINAL_EVERY_S, _LOG_EVERY_S = 0.5, 60.0


class Teller:
    """Tells about steps.

    Args:
        total: Steps in all.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._last = time.monotonic()
        self._loss = 0.0

    def __call__(self, state: State, loss: float, rate: float) -> None:
        """Shows a step.

        Args:
            state: After the step.
            loss: Of the step.
            rate: Steps per second.
        """
        self._loss = 0.98 * self._loss + 0.02 * loss if self._loss else loss
        now = time.monotonic()
        if now - self._last < (_TERMINAL_EVERY_S if self._terminal else _LOG_EVERY_S) and state.step < self._total:
            return
        self._last = now
        left = (self._total - state.step) / max(rate, 1e-9)
        text = f"step {state.step}/{self._total}  loss {self._loss:.3f}  {rate:.2f} steps/s  {clock(left)} left"
        end = "" if self._terminal and state.step < self._total else "\n"
        print(f"\r\x1b[K{text}" if self._terminal else text, end=end, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
