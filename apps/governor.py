"""Does less when the board cannot keep up, step by step, and goes back when it can.

Pure logic: the session measures, asks about once a second, and does what the answer says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from runtime.board import HOT_CELSIUS

_MAX_RECOVERY = 8  # times the first recovery time, after recoveries that did not last


class Level(NamedTuple):
    """How much is done.

    Attributes:
        rate: Share of the full frame rate, above 0, at most 1.
        threads: Share of the interpreter's threads, above 0, at most 1.
        small: Whether the smaller model runs, where there is one.
    """

    rate: float = 1.0
    threads: float = 1.0
    small: bool = False


class Load(NamedTuple):
    """What the session saw in the last seconds.

    Attributes:
        latency_ms: From capture to result, 95th percentile.
        temperature: Degrees Celsius; ``None`` where it cannot be told.
        throttled: What holds the board back now, in words; ``None`` where it cannot be told.
    """

    latency_ms: float
    temperature: float | None = None
    throttled: tuple[str, ...] | None = None


def ladder(threads: int, has_small: bool) -> tuple[Level, ...]:
    """The steps down: frame rate first, for it costs nothing but smoothness; then the smaller model or fewer threads.

    Args:
        threads: The interpreter's.
        has_small: Whether a smaller model is at hand.
    """
    levels = [Level(), Level(0.75), Level(0.5), Level(0.33)]
    if has_small:
        levels.append(Level(0.5, small=True))
        levels.append(Level(0.33, small=True))
    if threads > 1:
        levels.append(Level(0.33, 0.5, has_small))
    return tuple(levels)


@dataclass
class Governor:
    """Chooses a level.

    One step down after ``patience_s`` seconds of trouble without a break, one step back after ``recovery_s`` seconds
    without any. A step back that brings the trouble back at once doubles the wait before the next one, so that a warm
    board does not swing to and fro.

    Attributes:
        levels: From everything to least.
        deadline_ms: Latency that must hold; 0 leaves it out of account.
        patience_s: Seconds of trouble before a step down.
        recovery_s: Seconds of peace before a step back.
        notice: The last change in words for the viewer; empty at full work.
    """

    levels: tuple[Level, ...]
    deadline_ms: float = 0.0
    patience_s: float = 5.0
    recovery_s: float = 30.0
    notice: str = ""
    _at: int = 0
    _trouble_since: float | None = None
    _peace_since: float | None = None
    _stepped_back: float | None = None
    _waits: int = 1

    @property
    def level(self) -> Level:
        """What is to be done now."""
        return self.levels[self._at]

    def update(self, now: float, load: Load) -> Level:
        """Takes in what was seen.

        Args:
            now: ``time.monotonic()`` seconds; never goes back.
            load: The last seconds.

        Returns:
            What is to be done from now on.
        """
        why = self._trouble(load)
        if why:
            self._peace_since = None
            self._trouble_since = now if self._trouble_since is None else self._trouble_since
            if now - self._trouble_since >= self.patience_s and self._at + 1 < len(self.levels):
                self._down(now, why)
        else:
            self._trouble_since = None
            self._peace_since = now if self._peace_since is None else self._peace_since
            if now - self._peace_since >= self.recovery_s * self._waits:
                self._back(now)
        return self.level

    def _trouble(self, load: Load) -> str:
        """What is wrong; empty when nothing is."""
        if load.throttled:
            return f"the board is held back ({', '.join(load.throttled)})"
        if load.temperature is not None and load.temperature >= HOT_CELSIUS:
            return f"the processor is at {load.temperature:.0f} degrees C"
        if self.deadline_ms and load.latency_ms > self.deadline_ms:
            return f"results take {load.latency_ms:.0f} ms of {self.deadline_ms:.0f} allowed"
        return ""

    def _down(self, now: float, why: str) -> None:
        if self._stepped_back is not None and now - self._stepped_back < self.recovery_s:
            self._waits = min(_MAX_RECOVERY, 2 * self._waits)
        self._at += 1
        self._trouble_since = None
        self._stepped_back = None
        self.notice = f"{_words(self.level)}: {why}"

    def _back(self, now: float) -> None:
        if self._at == 0:
            self._waits = 1
            return
        self._at -= 1
        self._peace_since = now
        self._stepped_back = now
        self.notice = f"{_words(self.level)}: recovering" if self._at else ""


def _words(level: Level) -> str:
    parts = [f"{level.rate:.0%} of the frame rate"]
    if level.small:
        parts.append("the smaller model")
    if level.threads < 1:
        parts.append("fewer threads")
    return "running at " + " with ".join(parts[:2]) + "".join(f" and {part}" for part in parts[2:])
