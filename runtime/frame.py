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
    """

    pixels: npt.NDArray[np.uint8]
    color: Color = "bgr"
    source: str = ""
    index: int = 0
    captured: float = field(default_factory=time.monotonic)

    @property
    def width(self) -> int:
        """Pixels per row."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])
