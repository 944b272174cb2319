"""The heads of jack, queen and king, in units on the card."""

from __future__ import annotations

import numpy as np

from runtime.scenes.inks import BLACK, Style
from runtime.scenes.sheet import Ink, Outline, Pattern, Sheet, flipped, smooth

_AXIS = 127.0


def draw_king_head(sheet: Sheet, main: Ink, second: Ink, look: Style) -> None:
    """A tall crown, curled grey hair and a full forked beard."""
    hair: Outline = [(108, 54), (98, 70), (100, 90), (92, 104), (104, 110), (114, 98), (114, 60)]
    for outline in (smooth(hair), flipped(smooth(hair), _AXIS)):
        sheet.fill(outline, look.paper, BLACK)
    for x in (99.0, 104.0, 109.0):
        for sign in (-1, 1):
            lock = [(_AXIS + sign * (_AXIS - x), 62), (_AXIS + sign * (_AXIS - x + 3), 84), (_AXIS + sign * 26, 102)]
            sheet.line(smooth(lock, closed=False), look.grey, 1.6)
    _face(sheet, look, 58, 106)
    beard: Outline = [(109, 86), (118, 91), (127, 89), (136, 91), (145, 86), (146, 108), (138, 126), (127, 116)]
    beard = [*beard, (116, 126), (108, 108)]
    sheet.fill(smooth(beard), look.grey, BLACK)
    for x in np.linspace(113, 141, 6):
        sheet.line([(x, 97), (_AXIS + (x - _AXIS) * 0.9, 115)], look.paper, 1.4)
    sheet.line(smooth([(115, 96), (121, 91), (127, 94), (133, 91), (139, 96)], closed=False), look.paper, 2.6)
    sheet.line([(123, 98), (131, 98)], look.red, 2)
    _king_crown(sheet, main, second, look)


def _king_crown(sheet: Sheet, main: Ink, second: Ink, look: Style) -> None:
    sheet.fill([(104, 54), (100, 34), (154, 34), (150, 54)], main, BLACK)
    points: Outline = [(104, 54), (96, 31), (109, 42), (115, 29), (121, 41), (127, 27), (133, 41), (139, 29), (145, 42)]
    sheet.fill([*points, (158, 31), (150, 54)], look.yellow, BLACK)
    for x in (112.0, 127.0, 142.0):
        sheet.disc((x, 47), 2.6, second, BLACK)
    sheet.printed([(102, 53), (152, 53), (151, 60), (103, 60)], Pattern("checks", 5, 45, BLACK, look.yellow), BLACK)


def draw_queen_head(sheet: Sheet, main: Ink, second: Ink, look: Style) -> None:
    """A small crown with pearls, a long veil on both sides and no beard."""
    veil: Outline = [(110, 44), (96, 70), (84, 108), (70, 138), (96, 140), (112, 112), (116, 60)]
    inner: Outline = [(112, 48), (104, 72), (98, 108), (90, 132), (104, 128), (114, 108), (116, 60)]
    for turned in (False, True):
        outer, lining = (flipped(smooth(part), _AXIS) if turned else smooth(part) for part in (veil, inner))
        sheet.fill(outer, main, BLACK)
        sheet.fill(lining, look.yellow, BLACK, 1.2)
        sheet.line(outer[8:28] + ((-3, 0) if turned else (3, 0)), look.paper, 1.6)
    for x in (110.0, 144.0):
        sheet.line(smooth([(x, 60), (x - 2, 76), (x + 2, 92), (x, 106)], closed=False), BLACK, 3)
    _face(sheet, look, 54, 112)
    sheet.fill(smooth([(120, 97), (127, 95), (134, 97), (127, 101)]), look.red)
    parting: Outline = [(110, 66), (116, 56), (127, 52), (138, 56), (144, 66), (127, 60)]
    sheet.fill(smooth(parting), look.yellow, BLACK, 1.1)
    crown: Outline = [(108, 54), (104, 38), (115, 46), (121, 36), (127, 45), (133, 36), (139, 46), (150, 38), (146, 54)]
    sheet.fill(crown, look.yellow, BLACK)
    for x, y in ((104.0, 36.0), (121.0, 34.0), (133.0, 34.0), (150.0, 36.0)):
        sheet.disc((x, y), 3, look.red, BLACK)
    sheet.line([(110, 51), (144, 51)], second, 2)


def draw_jack_head(sheet: Sheet, main: Ink, second: Ink, look: Style) -> None:
    """A flat cap over long yellow curls; young, without a beard."""
    hair: Outline = [(106, 54), (98, 74), (96, 96), (104, 108), (114, 104), (116, 60)]
    for outline in (smooth(hair), flipped(smooth(hair), _AXIS)):
        sheet.fill(outline, look.yellow, BLACK)
    for y in (68.0, 79.0, 90.0, 101.0):
        for x in (103.0, 151.0):
            sheet.line(smooth([(x - 5, y), (x, y + 4), (x + 5, y)], closed=False), BLACK, 1.2)
    _face(sheet, look, 56, 106)
    sheet.line([(122, 96), (132, 96)], look.red, 2)
    cap: Outline = [(100, 36), (127, 30), (158, 33), (166, 46), (152, 56), (102, 56), (90, 47)]
    sheet.fill(smooth(cap), main, BLACK)
    sheet.printed([(100, 48), (156, 48), (153, 58), (103, 58)], Pattern("stripes", 8, 0, second, look.yellow), BLACK)
    sheet.line(smooth([(104, 44), (127, 38), (152, 41)], closed=False), look.yellow, 2.4)


def _face(sheet: Sheet, look: Style, top: float, chin: float) -> None:
    """Forehead to chin with brows, eyes and nose; the mouth differs."""
    skin = tuple(int(value) for value in np.multiply(look.paper, (0.92, 0.97, 1.0)).astype(int))
    oval: Outline = [(110, top + 8), (112, 84), (119, chin - 6), (127, chin), (135, chin - 6), (142, 84)]
    sheet.fill(smooth([*oval, (144, top + 8), (127, top)]), (skin[0], skin[1], skin[2]), BLACK)
    for x in (119.0, 135.0):
        sheet.line(smooth([(x - 5, 71), (x, 69), (x + 5, 71)], closed=False), BLACK, 1.6)
        sheet.line([(x - 4, 76), (x + 4, 76)], BLACK, 1.2)
        sheet.disc((x, 76.5), 1.8, look.blue)
    sheet.line([(128, 72), (130, 86), (125, 87)], BLACK, 1.3)
