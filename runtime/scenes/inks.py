"""How one printed deck differs from the next: colours, weights and proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.scenes.sheet import Ink

STYLES = 6
BLACK: Ink = (30, 27, 27)


@dataclass(frozen=True)
class Style:
    """One deck. Colours are BGR, lengths units of 1/100 inch.

    Attributes:
        paper: The card's white.
        red: Of hearts, diamonds and robes.
        blue: Of court cards and the frame around them.
        yellow: Of court cards.
        grey: Of hair and blades.
        weight: Stroke width of the corner indices.
        index_height: Of the corner letters.
        index_x: Their centre from the left edge.
        pip_height: Of the large pips.
        frame: Stroke width of the frame around courts.
        back: Pattern on the back.
        turn: By how much the courts' patterns are exchanged.
    """

    paper: Ink
    red: Ink
    blue: Ink
    yellow: Ink
    grey: Ink
    weight: float
    index_height: float
    index_x: float
    pip_height: float
    frame: float
    back: str
    turn: int


def style_of(number: int) -> Style:
    """The deck of a number; 0 is close to the usual American one."""
    rng = np.random.default_rng([number, 52])
    vary = 0.0 if number == 0 else 1.0

    def near(value: float, spread: float) -> float:
        return value + vary * float(rng.uniform(-spread, spread))

    def ink(blue: int, green: int, red: int, spread: int) -> Ink:
        b, g, r = (int(np.clip(near(value, spread), 0, 255)) for value in (blue, green, red))
        return b, g, r

    return Style(
        paper=ink(247, 250, 251, 4),
        red=ink(42, 32, 212, 14),
        blue=ink(152, 84, 24, 24),
        yellow=ink(40, 200, 248, 20),
        grey=ink(188, 160, 146, 16),
        weight=near(4.1, 0.8),
        index_height=near(35, 2.5),
        index_x=near(22, 1),
        pip_height=near(58, 3.5),
        frame=near(1.6, 0.4),
        back=("checks", "dots", "scales", "stripes")[number % 4],
        turn=number,
    )
