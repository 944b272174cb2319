"""Jack, queen and king: two-headed figures of plain shapes and printed patterns, after the French-English pattern.

All coordinates are units on the card; only the upper half is drawn, ``Sheet.turn`` makes the lower one.
"""

from __future__ import annotations

from dataclasses import dataclass

from runtime.scenes.heads import draw_jack_head, draw_king_head, draw_queen_head
from runtime.scenes.inks import BLACK, Style
from runtime.scenes.sheet import Ink, Outline, Pattern, Sheet, flipped, smooth
from runtime.scenes.signs import RED_SUITS, SUITS, draw_pip

LEFT, TOP, RIGHT, BOTTOM = 42, 26, 208, 324
"""The frame around the figure."""


@dataclass(frozen=True)
class Robe:
    """Colours and prints of one figure, chosen by suit and deck."""

    main: Ink
    second: Ink
    body: Pattern
    sleeve: Pattern
    trim: Pattern


def draw_court(sheet: Sheet, rank: str, suit: str, look: Style) -> float:
    """Draws the figure, its frame and its pip.

    Returns:
        The slope of the line along which the lower half meets the upper one.
    """
    robe = _robe(suit, look)
    body, arms, head = {
        "jack": (_jack_body, _halberd, draw_jack_head),
        "queen": (_queen_body, _flower, draw_queen_head),
        "king": (_king_body, _sword, draw_king_head),
    }[rank]
    body(sheet, robe, look)
    head(sheet, robe.main, robe.second, look)
    arms(sheet, robe, look)
    draw_pip(sheet, suit, (69, 58), 50, look.red if suit in RED_SUITS else BLACK)
    _frame(sheet, look)
    return {"jack": -0.55, "queen": 0.0, "king": 0.3}[rank]


def _robe(suit: str, look: Style) -> Robe:
    number = SUITS.index(suit) + look.turn
    main, second = ((look.red, look.blue), (look.blue, look.red), (look.red, BLACK), (look.blue, BLACK))[number % 4]
    kinds = ("dots", "checks", "scales", "stripes")
    return Robe(
        main,
        second,
        Pattern(kinds[number % 4], 9, 0, look.yellow, main),
        Pattern("stripes", 11, (30, -30, 60, 0)[number % 4], look.yellow, second),
        Pattern(("checks", "dots")[number % 2], 7, 45, BLACK, look.yellow),
    )


def _frame(sheet: Sheet, look: Style) -> None:
    """The frame, and clean paper outside of it, as figures reach over the edge."""
    height, width = sheet.pixels.shape[:2]
    scale = width / 250
    left, top, right = round(LEFT * scale), round(TOP * scale), round(RIGHT * scale)
    sheet.pixels[:top] = look.paper
    sheet.pixels[:, :left] = look.paper
    sheet.pixels[:, right:] = look.paper
    sheet.pixels[round(BOTTOM * scale) : height] = look.paper
    sheet.line([(LEFT, TOP), (RIGHT, TOP), (RIGHT, BOTTOM), (LEFT, BOTTOM)], look.blue, look.frame, closed=True)


def _both(sheet: Sheet, points: Outline, pattern: Pattern, axis: float = 125) -> None:
    """A printed shape and its mirror image."""
    sheet.printed(points, pattern, BLACK)
    sheet.printed(flipped(points, axis), pattern, BLACK)


def _king_body(sheet: Sheet, robe: Robe, look: Style) -> None:
    sheet.fill([(42, 215), (42, 148), (78, 112), (172, 112), (208, 148), (208, 215)], robe.main, BLACK)
    _both(sheet, [(42, 152), (74, 120), (98, 160), (84, 215), (42, 215)], robe.sleeve)
    sheet.printed([(104, 116), (146, 116), (150, 215), (100, 215)], robe.body, BLACK)
    for side in (104.0, 140.0):
        sheet.fill([(side, 118), (side + 6, 118), (side + 6, 215), (side, 215)], look.yellow, BLACK, 1)
    ermine = Pattern("dots", 10, 20, BLACK, look.paper)
    _both(sheet, [(125, 150), (96, 132), (70, 132), (82, 108), (110, 104), (125, 124)], ermine)


def _queen_body(sheet: Sheet, robe: Robe, look: Style) -> None:
    sheet.fill([(42, 215), (42, 160), (84, 122), (166, 122), (208, 160), (208, 215)], robe.second, BLACK)
    _both(sheet, smooth([(46, 215), (48, 164), (72, 138), (94, 150), (90, 215)]).tolist(), robe.sleeve)
    sheet.printed(
        smooth([(96, 132), (125, 126), (154, 132), (146, 175), (152, 222), (98, 222), (104, 175)]), robe.body, BLACK
    )
    sheet.printed(smooth([(82, 128), (125, 152), (168, 128), (160, 114), (125, 128), (90, 114)]), robe.trim, BLACK)
    sheet.fill(smooth([(104, 116), (125, 126), (146, 116), (138, 108), (112, 108)]), look.paper, BLACK)


def _jack_body(sheet: Sheet, robe: Robe, look: Style) -> None:
    sheet.fill([(42, 245), (42, 160), (86, 116), (164, 116), (208, 160), (208, 245)], robe.second, BLACK)
    sheet.printed([(86, 116), (42, 160), (42, 245), (80, 245), (120, 160)], robe.body, BLACK)
    sheet.printed([(164, 116), (208, 160), (208, 245), (176, 245), (136, 160)], robe.sleeve, BLACK)
    sheet.fill([(74, 126), (92, 114), (196, 214), (182, 236)], look.yellow, BLACK)
    sheet.printed([(80, 126), (90, 119), (192, 216), (184, 228)], Pattern("dots", 8, 45, robe.main, look.paper), BLACK)
    sheet.fill(smooth([(98, 120), (125, 136), (152, 120), (144, 106), (106, 106)]), robe.main, BLACK)
    sheet.line(smooth([(102, 116), (125, 129), (148, 116)], closed=False), look.yellow, 3)


def _hand(sheet: Sheet, x: float, y: float, look: Style) -> None:
    sheet.fill(smooth([(x - 9, y - 6), (x + 8, y - 7), (x + 10, y + 5), (x - 8, y + 7)]), look.paper, BLACK, 1.2)
    for step in (-3.0, 1.0):
        sheet.line([(x - 6, y + step), (x + 6, y + step)], BLACK, 0.9)


def _sword(sheet: Sheet, robe: Robe, look: Style) -> None:
    blade: Outline = [(188, 136), (188, 46), (192, 34), (196, 46), (196, 136)]
    sheet.fill(blade, look.grey, BLACK, 1.2)
    sheet.line([(192, 42), (192, 134)], look.paper, 1.6)
    sheet.fill([(178, 134), (206, 134), (206, 140), (178, 140)], look.yellow, BLACK, 1.2)
    sheet.fill([(189, 140), (195, 140), (195, 162), (189, 162)], robe.main, BLACK, 1.2)
    _hand(sheet, 192, 151, look)


def _flower(sheet: Sheet, robe: Robe, look: Style) -> None:
    sheet.line(smooth([(62, 168), (66, 150), (60, 128)], closed=False), BLACK, 2.4)
    for x, y in ((52.0, 118.0), (68.0, 118.0), (52.0, 106.0), (68.0, 106.0)):
        sheet.disc((x, y), 7, robe.main, BLACK)
    sheet.disc((60, 112), 5.5, look.yellow, BLACK)
    _hand(sheet, 64, 156, look)


def _halberd(sheet: Sheet, robe: Robe, look: Style) -> None:
    sheet.fill([(189, 64), (194, 64), (194, 178), (189, 178)], look.yellow, BLACK, 1.2)
    leaf: Outline = [(191, 32), (203, 52), (199, 74), (191, 66), (183, 74), (180, 52)]
    sheet.fill(leaf, robe.main, BLACK, 1.2)
    sheet.line([(191, 40), (191, 66)], look.yellow, 2)
    _hand(sheet, 191, 140, look)
