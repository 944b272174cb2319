"""The live picture in a window on this machine's own screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from apps.moment import Figures, Moment
from apps.outputs.paint import paint, paint_notice
from apps.outputs.screen import choose_screen

_TITLE = "Edgewren"
_MOST_FPS = 30.0
_WIDEST = 1280  # pixels of a window that was just opened
_WAIT_MS = 50
_QUIT = {ord("q"), 27}
_FULL = ord("f")


class WindowOutput:
    """Shows moments in a window; an :class:`apps.moment.Output`. All of it in the main thread, as windows want it.

    ``q``, Esc and closing the window end the session, ``f`` fills the screen. Single pictures wait for a key each.

    Args:
        uri: ``display://0``.
        shapes: Lines and zones to draw, as the page gets them.
        stills: Whether the source gives single pictures.
        stop: Ends the session.
        over: Whether the session is to end.

    Raises:
        InputError: Nothing can be shown there.
    """

    def __init__(
        self,
        uri: str,
        shapes: Callable[[], Sequence[Mapping[str, Any]]],
        stills: Callable[[], bool],
        stop: Callable[[], None],
        over: Callable[[], bool],
    ) -> None:
        choose_screen(uri)
        self._shapes = shapes
        self._stills = stills
        self._stop = stop
        self._over = over
        self._canvas: npt.NDArray[np.uint8] | None = None
        self._drawn = float("-inf")
        self._open = True
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def show(self, moment: Moment) -> None:
        """Draws a moment; not more often than a screen is worth."""
        stills = self._stills()
        if not stills and time.monotonic() - self._drawn < 0.9 / _MOST_FPS:
            return
        self._put(paint(moment, self._shapes()))
        if stills:
            self._wait()
        else:
            self._obey(cv2.pollKey())

    def tell(self, figures: Figures) -> None:
        """Says over the last picture why there is no newer one."""
        text = figures.notices[-1] if figures.notices else "waiting for a picture"
        canvas = np.full((480, 640, 3), 40, np.uint8) if self._canvas is None else self._canvas
        if self._open:
            cv2.imshow(_TITLE, paint_notice(canvas, text))
            self._obey(cv2.pollKey())

    def close(self) -> None:
        """Closes the window."""
        self._open = False
        cv2.destroyAllWindows()

    def _put(self, canvas: npt.NDArray[np.uint8]) -> None:
        if not self._open:
            return
        if self._canvas is None:
            height, width = canvas.shape[:2]
            share = min(1.0, _WIDEST / width)
            cv2.resizeWindow(_TITLE, round(width * share), round(height * share))
        self._canvas, self._drawn = canvas, time.monotonic()
        cv2.imshow(_TITLE, canvas)

    def _wait(self) -> None:
        """For a key, or for the end of the session."""
        while self._open and not self._over():
            key = cv2.waitKey(_WAIT_MS)
            self._obey(key)
            if key >= 0 and key & 0xFF != _FULL:
                return

    def _obey(self, key: int) -> None:
        if key >= 0 and key & 0xFF == _FULL:
            full = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_FULLSCREEN) == cv2.WINDOW_FULLSCREEN
            cv2.setWindowProperty(_TITLE, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_NORMAL if full else cv2.WINDOW_FULLSCREEN)
        # A window that its frame's button closed would come back with the next picture.
        elif (key >= 0 and key & 0xFF in _QUIT) or not _is_visible():
            self._open = False
            self._stop()


def _is_visible() -> bool:
    try:
        return cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:
        # Qt has ended with its last window.
        return False
