"""The picture at the camera's rate where the network is slower."""

from __future__ import annotations

import threading
from collections.abc import Callable

from runtime.frame import Frame
from runtime.slot import Slot

_BEHIND, _KEEPS_UP = 0.7, 0.9  # results per frame of the camera


class Smoother:
    """Shows frames that the network has not seen, in a thread of its own, while it is slower than the camera.

    Args:
        show: Shows one frame; called in that thread.

    Attributes:
        active: Whether it shows frames now.
    """

    def __init__(self, show: Callable[[Frame], None]) -> None:
        self.active = False
        self._show = show
        self._error: BaseException | None = None
        self._slot: Slot[Frame] = Slot()
        self._thread = threading.Thread(target=self._run, name="edgewren-smooth", daemon=True)
        self._thread.start()

    def passed(self, frame: Frame) -> None:
        """Takes a frame as it was captured; returns at once."""
        if self.active:
            self._slot.put(frame, replace=True)

    def judge(self, fps: float, camera_fps: float | None) -> None:
        """Decides whether the network is slower than the camera.

        Args:
            fps: Results per second.
            camera_fps: Frames per second; ``None`` where there is nothing to show in between, or it cannot be known.

        Raises:
            BaseException: Showing a frame has failed: a defect, with which the page would stand still.
        """
        if self._error:
            raise self._error
        if not camera_fps:
            self.active = False
        elif fps:
            share = fps / camera_fps
            self.active = share < (_KEEPS_UP if self.active else _BEHIND)

    def close(self) -> None:
        """Ends."""
        self.active = False
        self._slot.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while (frame := self._slot.take()) is not None:
                self._show(frame)
        except BaseException as error:
            self._error = error
            self.active = False
