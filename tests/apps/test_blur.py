"""What is hidden cannot be told any more, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest

from apps.blur import Blur
from runtime.detections import Detections
from runtime.errors import InputError
from runtime.frame import Frame
from tests.apps.moments import LABELS

RANDOM = np.random.default_rng(1)
NOISE = RANDOM.integers(0, 256, (120, 160, 3), np.uint8)


def found(*rows: tuple[float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Detections(table[:, :4].astype(np.float32), np.ones(len(table), np.float32), table[:, 4].astype(np.int32))


@pytest.mark.parametrize(
    ("box", "hidden"),
    [
        ((40, 30, 80, 90), (34, 21, 86, 99)),
        ((-20, -20, 20, 20), (0, 0, 26, 26)),
        ((100, 80, 400, 300), (55, 47, 160, 120)),
        ((10.4, 10.6, 11.0, 11.0), (10, 10, 12, 12)),
    ],
)
def test_a_box_and_its_margin_are_hidden_and_nothing_else(
    box: tuple[float, float, float, float], hidden: tuple[int, int, int, int]
) -> None:
    frame = Frame(NOISE.copy())
    pixels = Blur(LABELS, ["person"]).apply(frame, found((*box, 0))).pixels
    left, top, right, bottom = hidden
    outside = np.ones((120, 160), np.bool_)
    outside[top:bottom, left:right] = False
    assert np.array_equal(pixels[outside], NOISE[outside])
    assert np.array_equal(frame.pixels, NOISE)  # the camera's own picture stays as it was
    inside = pixels[top:bottom, left:right]
    colors = len(np.unique(inside.reshape(-1, 3), axis=0))
    assert colors <= 36  # 6 x 6 blocks


def test_two_pictures_with_the_same_averages_look_the_same() -> None:
    """Nothing but the averages of blocks is left, so nothing can be computed back."""
    flat = np.full((60, 60, 3), 128, np.uint8)
    checks = flat.copy()
    checks[::2, ::2], checks[1::2, 1::2] = 128 + 60, 128 + 60
    checks[::2, 1::2], checks[1::2, ::2] = 128 - 60, 128 - 60
    blur, box = Blur(LABELS, ["cat"], margin=0), found((0, 0, 60, 60, 1))
    seen = [blur.apply(Frame(pixels), box).pixels for pixels in (flat, checks)]
    assert np.array_equal(seen[0], seen[1])


def test_other_classes_stay() -> None:
    frame = Frame(NOISE)
    assert Blur(LABELS, ["person"]).apply(frame, found((10, 10, 50, 50, 1))) is frame
    assert Blur(LABELS, []).apply(frame, found((10, 10, 50, 50, 0))) is frame


def test_boxes_outside_the_picture_hide_nothing() -> None:
    pixels = Blur(LABELS, ["dog"]).apply(Frame(NOISE), found((300, 10, 350, 50, 2), (-90, -90, -50, -50, 2))).pixels
    assert np.array_equal(pixels, NOISE)


def test_unknown_class() -> None:
    with pytest.raises(InputError, match=r"no class 'face' to blur; expected one of person, cat, dog"):
        Blur(LABELS, ["face"])
