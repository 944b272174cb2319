"""Still scenes of playing cards, each from its seed alone."""

from __future__ import annotations

import cv2
import numpy as np

from runtime.scenes.deck import LABELS, SUITS, Face, card_back, card_face
from runtime.scenes.inks import STYLES
from runtime.scenes.layout import (
    MIN_VISIBLE,
    Item,
    Matrix,
    Scene,
    camera,
    label,
    moved,
    owners,
    placed,
    project,
    shares,
)
from runtime.scenes.lens import photographed
from runtime.scenes.paint import paint
from runtime.scenes.sheet import HEIGHT, WIDTH, Pixels, Points
from runtime.scenes.table import Random, table
from runtime.scenes.things import thing

_LOOK = 4  # places are tried at this fraction of the resolution
_MARGIN = 0.06  # and must show this much more than needed, as that look is coarse
_TRIES = 12


def draw_scene(seed: int, width: int = 640, height: int = 480) -> Scene:
    """One picture of one to about five cards on a table.

    Args:
        seed: Any number not below 0; the same seed and size give the same picture.
        width: Pixels.
        height: Pixels.

    Returns:
        The picture, and boxes and classes of the cards that are at least half visible.
    """
    rng = np.random.default_rng([seed, width, height])
    zoom = _zoom(rng, width, height)
    tilt = float(rng.uniform(0, 45) if rng.random() < 0.6 else rng.uniform(0, 12))
    view = camera(width, height, tilt, float(rng.uniform(0, 360)), float(rng.uniform(0, 360)), zoom)
    items = _arranged(rng, view, width, height)
    picture = _below(rng, view, width, height, zoom)
    light = rng.normal(0, 0.8, 2)
    paint(picture, items, (float(light[0]), float(light[1])), float(rng.uniform(0.25, 0.75)))
    return label(photographed(rng, picture), items)


def _zoom(rng: Random, width: int, height: int) -> float:
    """Picture pixels per unit, such that sqrt(area) / side of a card is mostly 0.16 to 0.6."""
    share = float(np.exp(rng.uniform(np.log(0.16), np.log(0.62))))
    return share * float(np.sqrt(width * height)) / float(np.sqrt(WIDTH * HEIGHT)) * 0.95


def _below(rng: Random, view: Matrix, width: int, height: int, zoom: float) -> Pixels:
    """The table as the camera sees it."""
    top = table(rng, width, height)
    # Spread over more than the frame, so that a turned or tilted view rarely sees its edges.
    spread = 1.35 / zoom
    matrix = view @ np.diag([spread, spread, 1]) @ moved(-width / 2, -height / 2)
    mode = cv2.BORDER_REFLECT_101
    seen = cv2.warpPerspective(top, matrix, (width, height), borderMode=mode)
    return np.asarray(seen, np.uint8)


def _arranged(rng: Random, view: Matrix, width: int, height: int) -> list[Item]:
    """Things below, cards among them, sometimes something on top; every card at least half visible."""
    items: list[Item] = []
    for _ in range(int(rng.choice(5, p=[0.35, 0.25, 0.2, 0.12, 0.08]))):
        face = thing(rng) if rng.random() < 0.85 else card_back(int(rng.integers(STYLES)))
        items += _tried(rng, [], view, face, -1, width, height)
    style = int(rng.integers(STYLES))
    count = int(rng.choice(np.arange(1, 7), p=[0.27, 0.26, 0.2, 0.14, 0.09, 0.04]))
    if count >= 3 and rng.random() < 0.35:
        items = _with_fan(rng, items, view, style, count, width, height)
    else:
        for _ in range(count):
            class_id, face = _any_card(rng, style)
            items += _tried(rng, items, view, face, class_id, width, height)
    for _ in range(int(rng.random() < 0.2)):
        items += _tried(rng, items, view, thing(rng), -1, width, height)
    return _without_hidden(items, width, height)


def _any_card(rng: Random, style: int) -> tuple[int, Face]:
    class_id = int(rng.integers(len(LABELS)))
    return class_id, card_face(style, LABELS[class_id], SUITS[int(rng.integers(len(SUITS)))])


def _tried(
    rng: Random, items: list[Item], view: Matrix, face: Face, class_id: int, width: int, height: int
) -> list[Item]:
    """A place for one more thing where all cards stay visible; empty when none was found."""
    for _ in range(_TRIES):
        spot = _spot(rng, view, 0.06, (width, height))
        scale, angle = float(rng.normal(1, 0.06)), float(rng.uniform(0, 360))
        matrix = view @ placed(face, (float(spot[0]), float(spot[1])), scale, angle)
        item = Item(face, matrix, class_id, float(rng.uniform(3, 16)))
        if _sane(item, width, height) and _all_visible([*items, item], width, height):
            return [item]
    return []


def _sane(item: Item, width: int, height: int) -> bool:
    """Whether a thing lies in front of the camera, with no wild size."""
    depth = item.face.outline @ item.matrix[2, :2] + item.matrix[2, 2]
    if depth.min() <= 0.2 * depth.max():
        return False
    size: Points = np.ptp(item.polygon(), 0) / np.sqrt(width * height)
    return bool(size.max() < 1.1 and size.min() > 0.02 and np.sqrt(size.prod()) > (0.14 if item.class_id >= 0 else 0))


def _all_visible(items: list[Item], width: int, height: int) -> bool:
    visible = shares(items, owners(items, width, height, _LOOK), _LOOK)
    cards = np.array([item.class_id >= 0 for item in items])
    return bool((visible[cards] >= MIN_VISIBLE + _MARGIN).all())


def _with_fan(
    rng: Random, items: list[Item], view: Matrix, style: int, count: int, width: int, height: int
) -> list[Item]:
    """Cards as a hand holds them: turned about one point, each covering a part of the one before."""
    for _ in range(_TRIES):
        centre = _spot(rng, view, 0.3, (width, height))
        fan = _fan(rng, view, style, count, centre)
        if all(_sane(item, width, height) for item in fan) and _all_visible([*items, *fan], width, height):
            return [*items, *fan]
        count = max(2, count - 1)
    return items + _tried(rng, items, view, fan[0].face, fan[0].class_id, width, height)


def _fan(rng: Random, view: Matrix, style: int, count: int, centre: Points) -> list[Item]:
    step, start = float(rng.uniform(19, 32)), float(rng.uniform(0, 360))
    radius = HEIGHT * float(rng.uniform(1.05, 1.5))
    pivot = centre - radius * _up(start)
    fan = []
    for number in range(count):
        angle = start + step * (number - (count - 1) / 2)
        x, y = pivot + radius * _up(angle)
        class_id, face = _any_card(rng, style)
        fan.append(Item(face, view @ placed(face, (float(x), float(y)), 1.0, angle), class_id, 3.0 + 2 * number))
    return fan


def _up(angle: float) -> Points:
    """The direction a card's top points to when turned by ``angle`` degrees."""
    return np.array([np.sin(np.radians(angle)), -np.cos(np.radians(angle))])


def _spot(rng: Random, view: Matrix, margin: float, size: tuple[int, int]) -> Points:
    """``(2,)`` a place on the table that is seen at least ``margin`` of the picture's size from its edges."""
    seen: Points = np.asarray(rng.uniform(margin, 1 - margin, (1, 2)), np.float64) * np.array(size, np.float64)
    return np.asarray(project(np.asarray(np.linalg.inv(view), np.float64), seen)[0])


def _without_hidden(items: list[Item], width: int, height: int) -> list[Item]:
    """Leaves out the least visible card until all that stay have a label."""
    while True:
        visible = shares(items, owners(items, width, height))
        hidden = [(visible[i], i) for i, item in enumerate(items) if item.class_id >= 0 and visible[i] < MIN_VISIBLE]
        if not hidden:
            return items
        items = [item for i, item in enumerate(items) if i != min(hidden)[1]]
