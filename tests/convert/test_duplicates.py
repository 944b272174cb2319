"""The same picture found again, and different ones kept apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.data.duplicates import NEAR, Fingerprint, Pair, between, differences, fingerprint, within
from runtime.frame import Frame
from runtime.sources.images import list_images, read_image
from tests.conftest import picture

Image = np.ndarray


def saved(quality: int) -> Callable[[Image], Image]:
    def change(image: Image) -> Image:
        decoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.asarray(decoded)

    return change


def marked(image: Image) -> Image:
    copy = image.copy()
    cv2.putText(copy, "wren", (2, copy.shape[0] - 4), cv2.FONT_HERSHEY_PLAIN, 1, (255, 255, 255))
    return copy


CHANGES: dict[str, Callable[[Image], Image]] = {
    "jpeg 50": saved(50),
    "halved": lambda image: np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    "square": lambda image: np.asarray(cv2.resize(image, (128, 128))),
    "brighter": lambda image: cv2.add(image, np.full_like(image, 20)),
    "grey": lambda image: np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)),
    "marked": marked,
}


def printed(image: Image) -> Fingerprint:
    return fingerprint(Frame(np.asarray(image, np.uint8)))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seed", range(3))
def test_changed_copy_is_near_and_not_exact(name: str, seed: int) -> None:
    image = picture(seed)
    original, copy = printed(image), printed(CHANGES[name](image))
    exact, near = within(["a", "b"], [original, copy])
    assert exact == ()
    (pair,) = near
    assert (pair.first, pair.second, pair.exact) == ("a", "b", False)
    assert pair.difference <= NEAR
    assert between(["a"], [original], ["b"], [copy]) == (pair,)


def test_different_pictures_are_neither() -> None:
    prints = [printed(picture(seed)) for seed in range(20)]
    names = [str(index) for index in range(20)]
    assert within(names, prints) == ((), ())
    assert between(names[:10], prints[:10], names[10:], prints[10:]) == ()


def test_another_file_format_is_an_exact_copy(tmp_path: Path) -> None:
    for name in ("a.png", "b.bmp"):
        cv2.imwrite(str(tmp_path / name), picture(1))
    first, second = (fingerprint(read_image(tmp_path / name)) for name in ("a.png", "b.bmp"))
    assert first.sha256 == second.sha256
    # The same bytes in another shape are another picture.
    assert first.sha256 != printed(picture(1).reshape(-1, 1, 3)).sha256


def test_copies_are_told_once_each() -> None:
    a, b, c = (printed(picture(seed, 120, 90)) for seed in (1, 2, 3))
    like_b = printed(saved(60)(picture(2, 120, 90)))
    exact, near = within(list("pqrstuv"), [a, b, a, a, c, b, like_b])
    assert exact == (Pair("p", "r", True), Pair("p", "s", True), Pair("q", "u", True))
    assert [(pair.first, pair.second) for pair in near] == [("q", "v")]
    found = between(["p", "q", "t"], [a, b, c], ["x", "y", "z"], [like_b, a, a])
    assert [(pair.first, pair.second, pair.exact) for pair in found] == [("p", "y", True), ("q", "x", False)]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_plain_pictures_are_not_like_each_other(value: int) -> None:
    black, other = printed(np.zeros((40, 40, 3))), printed(np.full((40, 40, 3), value))
    assert differences([black], [other]).item() == 1


@pytest.mark.parametrize(("edges", "difference"), [(15, 1), (16, 0)])
def test_too_few_edges_tell_nothing(edges: int, difference: int) -> None:
    item = Fingerprint("", np.arange(512) < edges)
    assert differences([item], [item]).item() == difference


@pytest.mark.parametrize(("step", "edges"), [(2, 0), (3, 256)])
def test_noise_is_no_edge(step: int, edges: int) -> None:
    cells = np.arange(17) * step
    image = np.broadcast_to(cells[None, :, None], (16, 17, 3)).repeat(5, 0).repeat(5, 1)
    assert printed(image).edges.sum() == edges
    rises, falls = printed(image).edges.reshape(2, 256)
    assert (rises.sum(), falls.sum()) == (edges, 0)


def test_nothing_to_compare() -> None:
    item = printed(picture(0))
    assert within([], []) == ((), ())
    assert within(["a"], [item]) == ((), ())
    assert between(["a"], [item], [], []) == ()
    assert between([], [], ["a"], [item]) == ()


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_difference_is_the_share_of_edges_not_in_both(seed: int, first: int, second: int) -> None:
    """Against sets of edge numbers."""
    random = np.random.default_rng(seed)
    edges = [Fingerprint("", random.random(512) < random.choice([0.01, 0.1, 0.5])) for _ in range(first + second)]
    share = differences(edges[:first], edges[first:])
    for i, j in itertools.product(range(first), range(second)):
        ours, theirs = set(np.flatnonzero(edges[i].edges)), set(np.flatnonzero(edges[first + j].edges))
        either = ours | theirs
        expected = len(ours ^ theirs) / len(either) if len(either) >= 16 else 1
        assert share[i, j] == pytest.approx(expected, abs=1e-6)


def test_large_sets_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(seed, 100, 80) for seed in range(7)]
    prints, copies = [printed(image) for image in images], [printed(saved(60)(image)) for image in images]
    names, others = list("abcdefg"), list("ABCDEFG")
    whole = between(names, prints, others, copies)
    assert [pair.second for pair in whole] == others
    monkeypatch.setattr("convert.data.duplicates._BLOCK", 3)
    assert between(names, prints, others, copies) == whole


# Photographs of cards on plain tables are alike; these are second shots of one scene, seen by eye, and nothing else is.
SECOND_SHOTS = {
    *(("IMG_2464.JPG", "IMG_2465.JPG"), ("IMG_2466.JPG", "IMG_2467.JPG"), ("IMG_2468.JPG", "IMG_2469.JPG")),
    *(("IMG_2471.JPG", "IMG_2472.JPG"), ("IMG_2473.JPG", "IMG_2474.JPG"), ("cam_image1.jpg", "cam_image54.jpg")),
}


def test_on_photographs(shared: Path) -> None:
    """Second shots are found, and no two scenes are taken for one, within the folders and between them."""
    folders = ("cards/train", "cards/test", "fruit/train", "coco-sample/train/images", "coco-sample/val/images")
    names, prints = [], []
    for folder in folders:
        for path in list_images(shared / "data" / folder):
            names.append(path.name)
            prints.append(fingerprint(read_image(path)))
    exact, near = within(names, prints)
    assert exact == ()
    assert {(pair.first, pair.second) for pair in near} == SECOND_SHOTS
    assert max(pair.difference for pair in near) < 0.2
