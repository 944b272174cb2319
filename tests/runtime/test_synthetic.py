"""The camera without a camera."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.grammar import INPUTS
from runtime.scenes.deck import LABELS, SUITS, card_face
from runtime.sources import frames, open_source, synthetic
from runtime.sources.synthetic import SyntheticSource


def test_frames_by_the_clock() -> None:
    source = open_source("synthetic://cards?size=160x120&fps=120&seed=3")
    assert source.live
    assert source.fps == 120
    found = [frame for frame, _ in zip(frames(source), range(6), strict=False)]
    assert [frame.index for frame in found] == list(range(6))
    assert all(a.captured < b.captured for a, b in pairwise(found))
    assert {(frame.width, frame.height, frame.color) for frame in found} == {(160, 120, "bgr")}
    assert found[0].source == "synthetic://cards?size=160x120&fps=120&seed=3"
    assert not source.rewind()
    source.close()


@pytest.mark.parametrize(("fps", "index"), [(120, 2), (0, 0)])
def test_a_picture_that_is_not_wanted_is_not_drawn(fps: int, index: int) -> None:
    """By the clock; otherwise every picture has its turn."""
    source = SyntheticSource("made", width=160, height=120, fps=fps)
    answers = [False, False, True]
    source.wanted = lambda captured: answers.pop(0)
    assert source.read().index == index
    source.close()


def test_free_running_frames_are_the_same_on_every_run() -> None:
    name = "synthetic://cards?size=160x120&fps=0&seed=3"
    source, again = open_source(name), open_source(name)
    assert not source.live
    first = [frame for frame, _ in zip(frames(source), range(4), strict=False)]
    assert [frame.index for frame in first] == [0, 1, 2, 3]
    for frame in first:
        other = again.read()
        assert other is not None
        np.testing.assert_array_equal(frame.pixels, other.pixels)
    assert any((a.pixels != b.pixels).any() for a, b in pairwise(first))
    assert source.rewind()
    back = source.read()
    assert back is not None
    assert back.index == 0
    np.testing.assert_array_equal(back.pixels, first[0].pixels)


def test_the_truth_of_the_last_frame() -> None:
    source = SyntheticSource("made", seed=1, width=160, height=120, fps=0)
    frame = source.read()
    scene = source.scene
    assert scene is not None
    assert scene.pixels is frame.pixels
    assert len(scene.boxes) == len(scene.class_ids)


def test_defaults_and_help() -> None:
    source = open_source("synthetic://cards")
    assert (source.live, source.fps) == (True, 30)
    frame = source.read()
    assert frame is not None
    assert (frame.width, frame.height) == (640, 480)
    assert "synthetic://cards" in INPUTS


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("synthetic://", "is not a source this version knows; expected synthetic://cards"),
        ("synthetic://chess?seed=1", "is not a source this version knows; expected synthetic://cards"),
        ("synthetic://cards/2", "is not a source this version knows"),
        ("synthetic://cards?speed=1", "unknown key 'speed'; expected synthetic://cards"),
        ("synthetic://cards?seed=1&SIZE=64x64", "unknown key 'SIZE'"),
        ("synthetic://cards?seed=-1", r"seed is '-1'; expected 0\.\.2147483647"),
        ("synthetic://cards?seed=2147483648", r"expected 0\.\.2147483647"),
        ("synthetic://cards?seed=", "seed is ''"),
        ("synthetic://cards?seed=1_0", "seed is '1_0'"),
        ("synthetic://cards?size=640", "size is '640'; expected WIDTHxHEIGHT such as 640x480"),
        ("synthetic://cards?size=63x480", r"size is '63'; expected 64\.\.4096"),
        ("synthetic://cards?size=640x4097", r"size is '4097'; expected 64\.\.4096"),
        ("synthetic://cards?size=x", "size is ''"),
        ("synthetic://cards?size=10x10x10", "size is '10'"),
        ("synthetic://cards?fps=241", r"fps is '241'; expected 0\.\.240"),
        ("synthetic://cards?fps=29.97", "fps is '29.97'"),
    ],
)
def test_bad_names(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(uri)


def test_cards_are_drawn_before_they_are_dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_PAUSE_S", 0.0)
    source = SyntheticSource("made", seed=5, width=160, height=120, fps=120)
    source.read()
    assert source._artist
    source._artist.join(60)
    drawn = card_face.cache_info().misses
    assert len(list(source._motion.deck())) == len(LABELS) * len(SUITS)
    assert card_face.cache_info().misses == drawn
    source.close()


def test_closing_ends_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_PAUSE_S", 600.0)
    source = SyntheticSource("made", seed=5, width=160, height=120, fps=120)
    source.read()
    source.close()
    assert source._artist
    assert not source._artist.is_alive()
