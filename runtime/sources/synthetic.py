"""Made scenes as a source: a camera without a camera, whose truth is known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.errors import InputError
from runtime.frame import Frame
from runtime.sources.query import Query

if TYPE_CHECKING:
    from runtime.scenes import Scene

_EXPECTED = "expected synthetic://cards, or with any of ?seed=0&size=640x480&fps=30"
_FREE_RATE = 30.0  # pictures per second of scene time when frames are not given by the clock
_MAX_SEED = 2**31 - 1
# Between two cards that are drawn ahead: a small board is to show pictures meanwhile.
_PAUSE_S = 0.1


class SyntheticSource:
    """Frames of a moving scene of playing cards.

    Args:
        uri: What a frame's ``source`` says.
        seed: Which scene.
        width: Of the frames.
        height: Of the frames.
        fps: Frames per second by the clock; 0 gives frames as fast as they are read, 1/30 s of the scene apart, and
            every run gives the same ones.

    Attributes:
        scene: The last frame's picture with its labels; ``None`` before the first.
        wanted: See :class:`runtime.sources.Asking`; only live scenes ask.
    """

    def __init__(self, uri: str, seed: int = 0, width: int = 640, height: int = 480, fps: float = 30.0) -> None:
        # The scenes are loaded when one is opened: programs that read a camera need none of them.
        from runtime.scenes import CardMotion

        self._name = uri
        self._motion = CardMotion(seed, width, height)
        self._index = 0
        self._start: float | None = None
        self._tick = 0
        self.live = fps > 0
        self.wanted: Callable[[float], bool] | None = None
        self.fps: float | None = fps if fps > 0 else _FREE_RATE
        self.scene: Scene | None = None
        self._closed = threading.Event()
        self._artist: threading.Thread | None = None

    def read(self) -> Frame:
        """The next frame; by the clock, it waits for that frame's time, and skips what a slow reader missed."""
        seconds = self._wait() if self.live else self._index / _FREE_RATE
        captured = time.monotonic()
        while self.live and self.wanted and not self.wanted(captured):
            self._index += 1
            seconds, captured = self._wait(), time.monotonic()
        self.scene = self._motion.at(seconds)
        frame = Frame(self.scene.pixels, "bgr", self._name, self._index, captured, None if self.live else seconds)
        self._index += 1
        return frame

    def rewind(self) -> bool:
        """Starts again from the first frame; like a camera, a live scene cannot."""
        if self.live:
            return False
        self._index = 0
        return True

    def close(self) -> None:
        """Ends the drawing of cards."""
        self._closed.set()
        if self._artist:
            self._artist.join()

    def _draw_ahead(self) -> None:
        """Draws the cards before they are dealt, or every new one would hold up the pictures it is needed for."""
        for _ in self._motion.deck():
            if self._closed.wait(_PAUSE_S):
                return

    def _wait(self) -> float:
        """Sleeps until the next tick of the frame clock; its time in seconds of the scene."""
        now = time.monotonic()
        if self._start is None or self.fps is None:
            self._start = now
            self._artist = threading.Thread(target=self._draw_ahead, name="edgewren-deck", daemon=True)
            self._artist.start()
            return 0.0
        # Rounding must not give the same tick twice.
        self._tick = max(self._tick + 1, int((now - self._start) * self.fps) + 1)
        time.sleep(max(0.0, self._start + self._tick / self.fps - now))
        return self._tick / self.fps


def open_synthetic(uri: str) -> SyntheticSource:
    """The scene that ``synthetic://cards?seed=7&size=640x480&fps=30`` names; every part of the query may be absent.

    Raises:
        InputError: An unknown scene or key, or a value out of range.
    """
    query = Query(uri, ("seed", "size", "fps"), _EXPECTED)
    if query.name != "synthetic://cards":
        raise InputError(f"{uri} is not a source this version knows", _EXPECTED)
    width, height = query.size((640, 480))
    seed = query.number("seed", 0, 0, _MAX_SEED)
    fps = query.number("fps", 30, 0, 240, ", where 0 is as fast as frames are read")
    return SyntheticSource(uri, seed, width, height, float(fps))
