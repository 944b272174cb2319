"""A moving scene of playing cards: what a swaying camera sees of cards that come, drift, turn and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from runtime.scenes.deck import LABELS, SUITS, Face, card_face
from runtime.scenes.inks import STYLES
from runtime.scenes.layout import Item, Matrix, Scene, camera, label, moved, placed
from runtime.scenes.lens import light_map, lit, noisy
from runtime.scenes.paint import paint
from runtime.scenes.sheet import HEIGHT, WIDTH, Pixels
from runtime.scenes.table import Random, table
from runtime.scenes.things import thing

_SLIDE = 0.5  # seconds a card takes to come in or to leave
_MARGIN = 1.4  # size of the table's picture relative to the frame: room for the camera's sway


@dataclass(frozen=True)
class Wave:
    """A slow wandering: two sines of unrelated periods."""

    reach: float
    periods: tuple[float, float]
    phases: tuple[float, float]

    @classmethod
    def drawn(cls, rng: Random, reach: float, fastest: float = 5.0) -> Wave:
        """A random one that stays within ``reach``; periods from ``fastest`` seconds upwards."""
        a, b = rng.uniform(fastest, 2.5 * fastest, 2)
        c, d = rng.uniform(0, 2 * np.pi, 2)
        return cls(reach, (float(a), float(b)), (float(c), float(d)))

    def at(self, seconds: float) -> float:
        """Its value then."""
        (a, b), (c, d) = self.periods, self.phases
        return self.reach * 0.5 * float(np.sin(2 * np.pi * seconds / a + c) + np.sin(2 * np.pi * seconds / b + d))


@dataclass(frozen=True)
class Seat:
    """Where one card after the other is laid.

    Attributes:
        home: Middle of the place on the table, units.
        angle: Degrees.
        period: Seconds from one card to the next.
        shift: Seconds by which it is ahead of the others.
        gap: Share of the period without a card.
        drift: Wandering in x, y (units) and angle (degrees).
    """

    home: tuple[float, float]
    angle: float
    period: float
    shift: float
    gap: float
    drift: tuple[Wave, Wave, Wave]


class CardMotion:
    """A continuous scene; any moment can be asked for in any order.

    Args:
        seed: Any number not below 0; the same seed and size give the same pictures.
        width: Of the picture.
        height: Of the picture.
    """

    def __init__(self, seed: int, width: int, height: int) -> None:
        rng = np.random.default_rng([seed, width, height, 1])
        self._seed = seed
        self._size = (width, height)
        self._style = int(rng.integers(STYLES))
        count = int(rng.integers(3, 6))
        # All seats together fill the frame; fewer cards are larger.
        share = float(rng.uniform(0.8, 1.0)) * {3: 0.42, 4: 0.36, 5: 0.31}[count]
        self._zoom = share * float(np.sqrt(width * height)) / float(np.sqrt(WIDTH * HEIGHT))
        self._seats = self._arranged(rng, count)
        self._tilt, self._towards = float(rng.uniform(5, 28)), float(rng.uniform(0, 360))
        self._sway = tuple(Wave.drawn(rng, reach, 7) for reach in (6.0, 14.0, 4.0, 0.05))
        self._shift = tuple(Wave.drawn(rng, 0.03 * max(width, height), 6) for _ in range(2))
        self._things = [(thing(rng), self._anywhere(rng)) for _ in range(int(rng.integers(0, 4)))]
        self._table = table(rng, round(width * _MARGIN), round(height * _MARGIN), tidy=True)
        self._light = [light_map(rng, width, height, 0.6) for _ in range(2)]
        self._exposure, self._mix = Wave.drawn(rng, 0.12, 8), Wave.drawn(rng, 0.5, 9)
        self._shade = (float(rng.normal(0, 0.7)), float(rng.normal(0, 0.7)))
        self._darkness = float(rng.uniform(0.35, 0.65))
        self._grain = float(rng.uniform(0.02, 0.08))

    def at(self, seconds: float) -> Scene:
        """The picture at a moment.

        Args:
            seconds: Since the start, not below 0.
        """
        view = self._view(seconds)
        items = self._items(view, seconds)
        picture = self._below(view)
        paint(picture, items, self._shade, self._darkness)
        mix = 0.5 + self._mix.at(seconds)
        light = np.asarray(cv2.addWeighted(self._light[0], mix, self._light[1], 1 - mix, 0), np.uint8)
        picture = lit(picture, light, 0.88 + self._exposure.at(seconds))
        return label(noisy(picture, int(seconds * 1000), self._grain), items)

    def deck(self) -> Iterator[Face]:
        """Draws every card that may be dealt, one by one. A card is drawn once, which takes longer than a picture."""
        for rank in LABELS:
            for suit in SUITS:
                yield card_face(self._style, rank, suit)

    def _arranged(self, rng: Random, count: int) -> list[Seat]:
        """Seats on a grid or in a row of overlapping cards, far enough from each other for all to be seen."""
        width, height = (side / self._zoom for side in self._size)
        columns = {3: 3, 4: 2, 5: 3}[count] if width >= height else {3: 1, 4: 2, 5: 2}[count]
        rows = -(-count // columns)
        seats = []
        for number in range(count):
            row, column = divmod(number, columns)
            in_row = min(columns, count - row * columns)
            x = ((column + 0.5) / in_row - 0.5) * 0.92 * width + float(rng.uniform(-18, 18))
            y = ((row + 0.5) / rows - 0.5) * 0.86 * height + float(rng.uniform(-18, 18))
            waves = (Wave.drawn(rng, 46), Wave.drawn(rng, 46), Wave.drawn(rng, 70, 8))
            gap = 0.0 if number == 0 else float(rng.uniform(0, 0.3))
            period = float(rng.uniform(6, 12))
            seats.append(Seat((x, y), float(rng.uniform(0, 360)), period, float(rng.uniform(0, period)), gap, waves))
        return seats

    def _view(self, seconds: float) -> Matrix:
        width, height = self._size
        tilt, towards, roll, zoom = (wave.at(seconds) for wave in self._sway)
        dx, dy = (wave.at(seconds) for wave in self._shift)
        seen = camera(width, height, self._tilt + tilt, self._towards + towards, roll, self._zoom * (1 + zoom))
        return np.asarray(moved(dx, dy) @ seen)

    def _below(self, view: Matrix) -> Pixels:
        width, height = self._size
        units = view @ np.diag([1 / self._zoom, 1 / self._zoom, 1])
        matrix = units @ moved(-self._table.shape[1] / 2, -self._table.shape[0] / 2)
        mode = cv2.BORDER_REFLECT_101
        return np.asarray(cv2.warpPerspective(self._table, matrix, (width, height), borderMode=mode), np.uint8)

    def _anywhere(self, rng: Random) -> Matrix:
        """A place in the frame for something that is no card, as a function of its size."""
        x, y = rng.uniform(-0.45, 0.45, 2) * self._size / self._zoom
        c, s = np.cos(turn := rng.uniform(0, 2 * np.pi)), np.sin(turn)
        return np.array([[c, -s, x], [s, c, y], [0, 0, 1]], np.float64)

    def _items(self, view: Matrix, seconds: float) -> list[Item]:
        found = (self._card(view, seat, number, seconds) for number, seat in enumerate(self._seats))
        things = [Item(face, view @ spot @ moved(-face.width / 2, -face.height / 2)) for face, spot in self._things]
        return things + [item for item in found if item is not None]

    def _card(self, view: Matrix, seat: Seat, number: int, seconds: float) -> Item | None:
        """The card on a seat at a moment; ``None`` between two."""
        turn, phase = divmod(seconds + seat.shift, seat.period)
        stay = seat.period * (1 - seat.gap)
        if phase >= stay:
            return None
        rng = np.random.default_rng([self._seed, number, int(turn)])
        class_id, suit = int(rng.integers(len(LABELS))), SUITS[int(rng.integers(len(SUITS)))]
        from_angle, spin = rng.uniform(0, 2 * np.pi), float(rng.uniform(-60, 60))
        away = _ease(1 - phase / _SLIDE) + _ease(1 - (stay - phase) / _SLIDE)
        far = 1.15 * max(self._size) / self._zoom * away
        x = seat.home[0] + seat.drift[0].at(seconds) + far * float(np.cos(from_angle))
        y = seat.home[1] + seat.drift[1].at(seconds) + far * float(np.sin(from_angle))
        angle = seat.angle + float(rng.uniform(0, 360)) + seat.drift[2].at(seconds) + spin * away
        face = card_face(self._style, LABELS[class_id], suit)
        return Item(face, view @ placed(face, (x, y), 1.0, angle), class_id, 5.0 + 2.0 * number + 30 * away)


def _ease(share: float) -> float:
    """0 up to 0, then quickly to 1."""
    return max(0.0, min(1.0, share)) ** 2
