"""What the live page really shows: one picture, its facts, and the boxes as they were drawn, measured in pixels."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.apps.browser import canvas_pixels

_REACH = 10  # pixels of the screen around a side within which its stroke is looked for
_STROKE = 2.0  # pixels
_FEWEST = 5  # rows or columns where it is seen alone
_GRAB = """() => Promise.all([import("/state.js"), import("/live.js")]).then(async ([{state}, {pause}]) => {
  pause(true);
  const painted = () => new Promise(requestAnimationFrame);
  await painted();
  await painted();
  const [picture, overlay] = ["view", "overlay"].map((id) => document.getElementById(id).toDataURL());
  const facts = state.facts;
  pause(false);
  return { facts, picture, overlay };
})"""


@dataclass(frozen=True)
class Shown:
    """One moment of the page.

    Attributes:
        facts: What came with the picture.
        picture: ``(h, w, 3)`` uint8 BGR.
        overlay: ``(h, w, 4)`` uint8 BGRA, in pixels of the screen.
    """

    facts: dict[str, Any]
    picture: npt.NDArray[np.uint8]
    overlay: npt.NDArray[np.uint8]

    def measurable(self) -> list[dict[str, Any]]:
        """Detections whose strokes cannot be taken for those of a neighbour in the same colour."""
        found = self.facts["detections"]
        return [one for one in found if not any(_touch(one, other) for other in found if other is not one)]

    def drawn(self, found: dict[str, Any]) -> npt.NDArray[np.float64]:
        """The box drawn for a detection, ``x1, y1, x2, y2`` in pixels of the frame; NaN where no stroke is to be
        seen.

        The middle of each side's stroke: the median over the rows or columns of the side, without those where names or
        other boxes lie.
        """
        height, width = self.overlay.shape[:2]
        scale = np.array([width / self.facts["width"], height / self.facts["height"]] * 2)
        x1, y1, x2, y2 = np.array(found["box"]) * scale
        ink = self._ink(found["class_id"])
        upright = ink[_inner(y1, y2)]
        level = ink[:, _inner(x1, x2)].T
        sides = [_stroke(upright, x1), _stroke(level, y1), _stroke(upright, x2), _stroke(level, y2)]
        return np.asarray(np.array(sides) / scale)

    def _ink(self, class_id: int) -> npt.NDArray[np.float64]:
        """How much of a class's colour is in each pixel, 0..1."""
        red, green, blue = colorsys.hls_to_rgb((0.33 + class_id * 0.61803398875) % 1, 0.625, 1.0)
        far = np.abs(self.overlay[:, :, :3].astype(float) / 255 - (blue, green, red)).max(axis=2)
        return np.where(far < 0.12, self.overlay[:, :, 3] / 255, 0.0)


def look(page: Any) -> Shown:
    """Holds the page for a moment and takes what it shows."""
    grabbed = page.evaluate(_GRAB)
    return Shown(grabbed["facts"], canvas_pixels(grabbed["picture"])[:, :, :3], canvas_pixels(grabbed["overlay"]))


def _touch(one: dict[str, Any], other: dict[str, Any]) -> bool:
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = one["box"], other["box"]
    near = max(ax1, bx1) < min(ax2, bx2) + 2 * _REACH and max(ay1, by1) < min(ay2, by2) + 2 * _REACH
    return bool(near and one["class_id"] == other["class_id"])


def _inner(first: float, last: float) -> slice:
    corner = (last - first) / 10
    return slice(round(first + corner), round(last - corner) + 1)


def _stroke(lines: npt.NDArray[np.float64], near: float) -> float:
    """Where along the second axis the ink is; pixel ``i`` covers ``[i, i + 1)``."""
    begin = max(0, round(near) - _REACH)
    part = lines[:, begin : round(near) + _REACH + 1]
    weights = part.sum(axis=1)
    # Where something else lies on a part of the stroke, its middle cannot be told; at the picture's edge half is drawn.
    for width in (_STROKE, _STROKE / 2):
        inked = np.abs(weights - width) < 0.2
        if inked.sum() >= _FEWEST:
            break
    else:
        return float("nan")
    middles = (part @ (np.arange(part.shape[1]) + begin + 0.5))[inked] / weights[inked]
    return float(np.median(middles))
