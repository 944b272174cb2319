"""The picture type that crosses every border."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from runtime.card import Color


@dataclass(slots=True)
class Frame:
    """One picture, with the facts that are lost when only an array is passed on.

    Attributes:
        pixels: ``(height, width, 3)`` uint8, 0..255.
        color: Channel order of ``pixels``. OpenCV delivers ``bgr``.
        source: Where it came from: a path, a URI, a device.
        index: Position in the source, from 0.
        captured: ``time.monotonic()`` seconds when the picture was taken or read; the start of its latency.
        media_time: Seconds into the film, of a source that is read faster or slower than it plays; goes on counting
            when the film starts again. ``None`` where the capture time says when things happened.
        small: The same picture with fewer pixels, in the same colour order, where a camera gives one for the network.
    """

    pixels: npt.NDArray[np.uint8]
    color: Color = "bgr"
    source: str = ""
    index: int = 0
    captured: float = field(default_factory=time.monotonic)
    media_time: float | None = None
    small: npt.NDArray[np.uint8] | None = None

    @property
    def happened(self) -> float:
        """Seconds on the clock that motion is measured by: the film's, else the world's."""
        return self.captured if self.media_time is None else self.media_time

    @property
    def width(self) -> int:
        """Pixels per row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])
