"""What the governor decides, done."""

from __future__ import annotations

import time
from collections.abc import Callable

from apps.governor import Governor, Level, Load, ladder
from apps.options import Options
from runtime.ledger import GOVERNOR, RATE
from runtime.pipeline import Pipeline


class Governing:
    """Slows the pipeline down, or changes its model and threads, as the governor says.

    Args:
        options: ``governor``, ``deadline_ms``, ``max_fps``, ``threads``.
        want: Changes ``model`` or ``threads``.
        threads: Of the interpreter at the start: the user's choice, what ``bench --tune`` found, or the default.
        model: Tells the name of the chosen model.
        small: Name of the smaller model, where there is one.
    """

    def __init__(
        self,
        options: Options,
        want: Callable[..., None],
        threads: int,
        model: Callable[[], str],
        small: str | None,
    ) -> None:
        self._threads = threads
        self._given = options.threads
        self._most: float | None = options.max_fps
        self._want = want
        self._model = model
        self._before = small
        self._small = small
        levels = ladder(self._threads, small is not None)
        self._governor = Governor(levels, options.deadline_ms or 0.0) if options.governor else None
        self._full = Level()
        self._level = Level()
        self._pipeline: Pipeline | None = None
        self._fps: Callable[[], float] = lambda: 0.0
        self._rate = 0.0

    def steer(self, pipeline: Pipeline, fps: Callable[[], float]) -> None:
        """Takes over a pipeline that is about to start, and what tells its results per second."""
        self._pipeline = pipeline
        self._fps = fps
        self._limit()

    def update(self, load: Load) -> str:
        """Once a second; returns what is to be told the viewer."""
        if self._governor is None:
            return ""
        level = self._governor.update(time.monotonic(), load)
        if level != self._level:
            self.apply(level)
        return self._governor.notice

    def apply(self, level: Level) -> None:
        """Does what a level says."""
        if self._level == self._full:
            # Shares are of what the board managed: a limit above that would change nothing.
            self._rate = self._fps()
        before, self._level = self._level, level
        self._limit()
        if level.threads != before.threads:
            fewer = max(1, round(self._threads * level.threads))
            self._want(threads=self._given if level == self._full or level.threads == 1 else fewer)
        if level.small and not before.small:
            self._before = self._model()
            self._want(model=self._small)
        # Who has chosen another one meanwhile keeps it.
        if before.small and not level.small and self._model() == self._small:
            self._want(model=self._before)

    def _limit(self) -> None:
        share = self._level.rate
        limit = self._rate * share if share < 1 and self._rate else None
        if self._most is not None:
            limit = min(limit or self._most, self._most)
        if self._pipeline:
            self._pipeline.limit(limit, RATE if limit == self._most else GOVERNOR)
