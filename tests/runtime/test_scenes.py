"""Made scenes of playing cards: the same from the same seed, with labels that are true."""

from __future__ import annotations

from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.scenes import LABELS, CardMotion, Scene, cards, draw_scene, layout
from runtime.scenes.deck import SUITS, card_face
from runtime.scenes.layout import Item
from runtime.scenes.paint import paint

SIZES = [(378, 504), (320, 320), (640, 480), (960, 540)]


def check(scene: Scene, width: int, height: int) -> None:
    """What holds for every scene."""
    assert scene.pixels.shape == (height, width, 3)
    assert scene.pixels.dtype == np.uint8
    assert scene.boxes.dtype == scene.visible.dtype == np.float32
    assert scene.class_ids.dtype == np.int32
    assert scene.boxes.shape == (len(scene.class_ids), 4) == (len(scene.visible), 4)
    assert (scene.boxes >= 0).all()
    assert (scene.boxes <= (width, height, width, height)).all()
    assert (scene.boxes[:, 2:] - scene.boxes[:, :2] >= 4).all()
    assert ((scene.class_ids >= 0) & (scene.class_ids < len(LABELS))).all()
    assert ((scene.visible >= 0.5) & (scene.visible <= 1)).all()


def inside(
    polygon: npt.NDArray[np.float64], x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which points lie in a convex shape: on one side of all its edges."""
    after = np.roll(polygon, -1, 0)
    sides = [(b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) for a, b in zip(polygon, after, strict=True)]
    return np.asarray(np.all([side >= 0 for side in sides], 0) | np.all([side <= 0 for side in sides], 0))


def truth(items: list[Item], width: int, height: int) -> dict[int, tuple[float, list[float]]]:
    """Visible share and box of each card, point by point on a grid twice as fine, beyond the edges as well."""
    everything = np.concatenate([item.polygon() for item in items] + [np.array([[0, 0], [width, height]])])
    low, high = np.floor(everything.min(0)), np.ceil(everything.max(0))
    x, y = np.meshgrid(*(np.arange(a, b, 0.5) + 0.25 for a, b in zip(low, high, strict=True)))
    free = (x > 0) & (x < width) & (y > 0) & (y < height)
    found = {}
    for number, item in reversed(list(enumerate(items))):
        shape = inside(item.polygon(), x, y)
        seen = shape & free
        free &= ~shape
        if seen.any() and item.class_id >= 0:
            box = [x[seen].min() - 0.25, y[seen].min() - 0.25, x[seen].max() + 0.25, y[seen].max() + 0.25]
            found[number] = (float(seen.sum() / shape.sum()), [float(value) for value in box])
    return found


def compare(scene: Scene, items: list[Item]) -> None:
    """Labels against the slow truth; only a card right at one half may be counted either way."""
    height, width = scene.pixels.shape[:2]
    expected = truth(items, width, height)
    sure = [number for number, (share, _) in expected.items() if share > 0.52]
    maybe = [number for number, (share, _) in expected.items() if share > 0.48]
    assert len(sure) <= len(scene.boxes) <= len(maybe)
    for box, class_id, share in zip(scene.boxes, scene.class_ids, scene.visible, strict=True):
        number = min(maybe, key=lambda i: float(np.abs(np.subtract(expected[i][1], box)).max()))
        np.testing.assert_allclose(box, expected[number][1], atol=1.25)
        assert share == pytest.approx(expected[number][0], abs=0.02)
        assert class_id == items[number].class_id
        maybe.remove(number)


@pytest.mark.parametrize("size", SIZES)
def test_still_scenes_have_true_labels(size: tuple[int, int]) -> None:
    for seed in range(2):
        with mock.patch.object(cards, "label", wraps=layout.label) as spy:
            scene = draw_scene(seed, *size)
        check(scene, *size)
        compare(scene, spy.call_args.args[1])


@pytest.mark.parametrize("size", [(320, 240), (240, 320)])
def test_moving_scenes_have_true_labels(size: tuple[int, int]) -> None:
    motion = CardMotion(5, *size)
    for seconds in (0.0, 1.3, 7.7):
        with mock.patch("runtime.scenes.motion.label", wraps=layout.label) as spy:
            scene = motion.at(seconds)
        check(scene, *size)
        compare(scene, spy.call_args.args[1])


def test_the_picture_shows_the_card_where_the_label_says() -> None:
    """With the card and without it, pictures differ inside of its box, up to its edges, and only in shadow outside."""
    face = card_face(0, "ten", "hearts")
    ground = np.full((300, 400, 3), 60, np.uint8)
    view = layout.camera(400, 300, 25, 70, 10, 0.5)
    item = Item(face, view @ layout.placed(face, (20.0, -10.0), 1.0, 33), 1, 2.0)
    picture = ground.copy()
    paint(picture, [item], (0.0, 0.0), 0.0)
    changed = picture.min(2) > 120
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(layout.label(picture, [item]).boxes[0], seen, atol=1)


def test_same_seed_same_bytes() -> None:
    for one, other in ((draw_scene(7, 320, 240), draw_scene(7, 320, 240)),):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    first, second = CardMotion(7, 320, 240), CardMotion(7, 320, 240)
    second.at(2.0)  # the order of questions does not matter
    np.testing.assert_array_equal(first.at(1.5).pixels, second.at(1.5).pixels)
    assert (draw_scene(7, 320, 240).pixels != draw_scene(8, 320, 240).pixels).any()
    assert (CardMotion(8, 320, 240).at(1.5).pixels != first.at(1.5).pixels).any()


def test_all_cards_are_told_apart() -> None:
    faces = [card_face(2, rank, suit).levels[0] for rank in LABELS for suit in SUITS]
    assert len({face.tobytes() for face in faces}) == len(faces) == 24
    for face in faces:
        assert face.shape[2] == 4
        assert face[0, 0].tolist() == [0, 0, 0, 0]
        assert face[60, 8, 3] == 255


def test_all_ranks_and_suits_appear() -> None:
    with mock.patch.object(cards, "card_face", wraps=card_face) as spy:
        scenes = [draw_scene(seed, 96, 96) for seed in range(60)]
    assert {call.args[1:] for call in spy.call_args_list} == {(rank, suit) for rank in LABELS for suit in SUITS}
    assert set(np.concatenate([scene.class_ids for scene in scenes]).tolist()) == set(range(len(LABELS)))
    counts = [len(scene.boxes) for scene in scenes]
    assert min(counts) >= 0
    assert max(counts) >= 4
    assert np.mean([count > 0 for count in counts]) > 0.9
    assert min(float(scene.visible.min()) for scene in scenes if len(scene.visible)) < 0.8


def test_cards_come_go_and_move() -> None:
    motion = CardMotion(2, 160, 120)
    scenes = [motion.at(second / 2) for second in range(60)]
    assert len({tuple(scene.class_ids.tolist()) for scene in scenes}) > 5
    steps = []
    for second in range(0, 40, 2):
        near, later = motion.at(second), motion.at(second + 0.04)
        if near.class_ids.tolist() == later.class_ids.tolist() and len(near.boxes):
            steps.append(float(np.abs(near.boxes - later.boxes).max()))
    # Most of the time cards only drift; while one slides in or out it is fast.
    assert 0 < np.median(steps) < 2


@settings(max_examples=12)
@given(st.integers(0, 2**31 - 1), st.integers(64, 300), st.integers(64, 300), st.floats(0, 1e6))
def test_any_seed_and_size(seed: int, width: int, height: int, seconds: float) -> None:
    check(draw_scene(seed, width, height), width, height)
    check(CardMotion(seed, width, height).at(seconds), width, height)
