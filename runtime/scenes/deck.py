"""Faces of playing cards, drawn by the program: six ranks in four suits, and a back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from runtime.scenes.courts import draw_court
from runtime.scenes.inks import BLACK, Style, style_of
from runtime.scenes.sheet import HEIGHT, WIDTH, Outline, Pattern, Pixels, Points, Sheet, ellipse, smooth
from runtime.scenes.signs import RED_SUITS, SUITS, draw_pip, draw_rank

LABELS = ("nine", "ten", "jack", "queen", "king", "ace")
_LEVELS = (1.2, 0.72, 0.43)  # pixels per unit of the stored sizes, so that far cards do not flicker
_CORNER = 12.0  # radius of the corners in units


@dataclass(frozen=True)
class Face:
    """Something flat with a picture on it, ready to be laid on a table.

    Attributes:
        levels: The picture in falling sizes, ``(h, w, 4)`` uint8 BGRA, colours multiplied by alpha.
        width: Units.
        height: Units.
        outline: ``(n, 2)`` corners of its shape, units, convex.
    """

    levels: tuple[Pixels, ...]
    width: float
    height: float
    outline: Points

    def level(self, scale: float) -> Pixels:
        """The stored picture that fits best.

        Args:
            scale: Pixels per unit it will be shown with.
        """
        fine = [level for level in self.levels if level.shape[1] >= 0.85 * scale * self.width]
        return fine[-1] if fine else self.levels[0]


def rounded(width: float, height: float, radius: float) -> Points:
    """The outline of a rectangle with round corners, ``(n, 2)`` units, clockwise from the top left."""
    right, bottom = width - radius, height - radius
    corners = ((radius, radius, 180), (right, radius, 270), (right, bottom, 0), (radius, bottom, 90))
    return np.concatenate([ellipse((x, y), (radius, radius), a, a + 90)[::8] for x, y, a in corners])


def make_face(pixels: Pixels, width: float, height: float, radius: float) -> Face:
    """A face from a picture.

    Args:
        pixels: ``(h, w, 3)`` uint8 BGR, any size of the right proportions.
        width: Units.
        height: Units.
        radius: Of its corners, units.
    """
    outline = rounded(width, height, radius)
    alpha = np.zeros(pixels.shape[:2], np.uint8)
    to_pixels = (pixels.shape[1] / width, pixels.shape[0] / height)
    cv2.fillPoly(alpha, [np.round((outline * to_pixels - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    whole = cv2.merge([cv2.bitwise_and(pixels, pixels, mask=alpha), alpha])
    levels: list[Pixels] = []
    for scale in _LEVELS:
        size = (max(2, round(width * scale)), max(2, round(height * scale)))
        finer = levels[-1] if levels else whole
        levels.append(np.asarray(cv2.resize(finer, size, interpolation=cv2.INTER_AREA), np.uint8))
    return Face(tuple(levels), width, height, outline)


@cache
def card_face(style: int, rank: str, suit: str) -> Face:
    """One card of a deck.

    Args:
        style: Which deck, 0..``STYLES - 1``.
        rank: One of ``LABELS``.
        suit: One of ``SUITS``.
    """
    look = style_of(style)
    ink = look.red if suit in RED_SUITS else BLACK
    sheet = Sheet(look.paper)
    slope = 0.0
    if rank in ("jack", "queen", "king"):
        slope = draw_court(sheet, rank, suit, look)
    elif rank in ("nine", "ten"):
        _draw_pips(sheet, rank, suit, look)
    draw_rank(sheet, rank, (look.index_x, 31), look.index_height, ink, look.weight)
    draw_pip(sheet, suit, (look.index_x, 66), look.index_height * 0.72, ink)
    sheet.turn(slope)
    if rank == "nine":
        draw_pip(sheet, suit, (WIDTH / 2, HEIGHT / 2), look.pip_height, ink)
    elif rank == "ace":
        _draw_ace(sheet, suit, look)
    return _cut(sheet)


@cache
def card_back(style: int) -> Face:
    """The back of a deck's cards."""
    look = style_of(style)
    sheet = Sheet(look.paper)
    ink = look.red if style % 2 else look.blue
    frame = rounded(WIDTH - 26, HEIGHT - 26, 8) + 13
    sheet.printed(frame, Pattern(look.back, 11, 45, look.paper, ink), ink, 3)
    sheet.line(rounded(WIDTH - 44, HEIGHT - 44, 8) + 22, look.paper, 3, closed=True)
    for radius, colour in ((46, ink), (42, look.paper), (36, ink), (20, look.paper), (14, ink)):
        sheet.disc((WIDTH / 2, HEIGHT / 2), radius, colour)
    return _cut(sheet)


def _cut(sheet: Sheet) -> Face:
    """The sheet with its edge, which is a little darker than the paper, as a face."""
    sheet.line(rounded(WIDTH - 1, HEIGHT - 1, _CORNER) + 0.5, (188, 188, 186), 1.2, closed=True)
    return make_face(sheet.pixels, WIDTH, HEIGHT, _CORNER)


def _draw_pips(sheet: Sheet, rank: str, suit: str, look: Style) -> None:
    """The upper half of a nine's or ten's pips; the nine's middle one comes later."""
    ink = look.red if suit in RED_SUITS else BLACK
    places: Outline = [(77, 59), (173, 59), (77, 136), (173, 136)] + ([(125, 98)] if rank == "ten" else [])
    for place in places:
        draw_pip(sheet, suit, place, look.pip_height, ink)


def _draw_ace(sheet: Sheet, suit: str, look: Style) -> None:
    """One pip in the middle; the ace of spades is the large ornate one."""
    centre = (WIDTH / 2, HEIGHT / 2)
    if suit != "spades":
        draw_pip(sheet, suit, centre, look.pip_height * 1.12, look.red if suit in RED_SUITS else BLACK)
        return
    draw_pip(sheet, suit, (125, 172), 168, BLACK)
    draw_pip(sheet, suit, (125, 160), 112, look.paper)
    draw_pip(sheet, suit, (125, 160), 104, BLACK)
    for side in (-1, 1):
        curl = [(125 + side * x, y) for x, y in ((4, 196), (22, 182), (34, 164), (22, 152), (12, 164), (22, 170))]
        sheet.line(smooth(curl, closed=False), look.paper, 2)
    draw_pip(sheet, "diamonds", (125, 146), 40, look.paper)
    sheet.disc((125, 146), 4.5, BLACK)


__all__ = ["LABELS", "SUITS", "Face", "card_back", "card_face", "make_face", "rounded"]
