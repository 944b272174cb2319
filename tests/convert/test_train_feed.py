"""Batches: the same for the same seed and step, whoever asks and when."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.data import Dataset, Truth
from convert.train.augment import Augmentation, Example
from convert.train.feed import Batch, Feed, Mixture, Pool
from convert.train.targets import EMPTY, Matching, anchor_boxes, make_targets
from runtime.card import HeadSpec, InputSpec
from runtime.errors import InputError
from tests.conftest import picture

HEADS = (HeadSpec(16, ((20.0, 20.0), (36.0, 30.0))),)
LABELS = ("wren", "robin")
PLAIN = Augmentation((1.0, 1.0), 1.0, 0.0, False, False, 0.0, 0.0, 0.0, 0.0)


def dataset(folder: Path, count: int, names: tuple[str, ...] = LABELS, size: tuple[int, int] = (80, 60)) -> Dataset:
    folder.mkdir(exist_ok=True)
    truths = []
    for index in range(count):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), picture(index, *size))
        boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.5, 0.0, 1.0, 0.5]], np.float32)
        truths.append(Truth(path, boxes, np.array([index % len(names), 0], np.int32)))
    return Dataset(folder.name, tuple(truths), names)


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    folder = tmp_path_factory.mktemp("feed")
    pools = Pool(dataset(folder / "a", 3), LABELS), Pool(dataset(folder / "b", 2, ("robin",)), LABELS)
    spec = InputSpec("image", 64, 64, "rgb", "stretch", (1 / 128,), (-1.0,))
    return Feed(Mixture(pools, (3, 1)), Augmentation(), spec, anchor_boxes(HEADS, 64, 64), Matching(), 3, 7)


def same(one: Batch, other: Batch) -> bool:
    return np.array_equal(one.images, other.images) and np.array_equal(one.targets, other.targets)


def test_batch_is_a_function_of_seed_and_step(feed: Feed) -> None:
    forwards = [feed.batch_of(step) for step in range(5)]
    backwards = [feed.batch_of(step) for step in reversed(range(5))][::-1]
    assert all(map(same, forwards, backwards))
    assert not any(same(forwards[0], batch) for batch in forwards[1:])
    assert not same(forwards[0], dataclasses.replace(feed, seed=8).batch_of(0))
    assert not np.array_equal(forwards[0].images[0], forwards[0].images[1])


def test_batch_is_what_a_network_takes(feed: Feed) -> None:
    batch = feed.batch_of(0)
    assert batch.images.shape == (3, 64, 64, 3)
    assert batch.targets.shape == (3, 4 * 4 * 2, 5)
    assert batch.images.dtype == batch.targets.dtype == np.float32
    assert batch.images.min() >= -1
    assert batch.images.max() < 1
    assert batch.images.max() - batch.images.min() > 0.5


@pytest.mark.parametrize(("first", "last"), [(0, 9), (4, 12), (3, 4), (5, 5)])
def test_batches_made_ahead_are_the_same(feed: Feed, first: int, last: int) -> None:
    found = list(feed.batches(first, last))
    assert [step for step, _ in found] == list(range(first, last))
    assert all(same(batch, feed.batch_of(step)) for step, batch in found)


def test_unchanged_picture_and_its_targets(tmp_path: Path) -> None:
    """Without changes a batch holds the picture, as the network takes it, and its own targets."""
    pool = Pool(dataset(tmp_path, 1, size=(64, 64)), LABELS)
    spec = InputSpec("image", 64, 64, "rgb", "stretch", (1 / 128,), (-1.0,))
    anchors = anchor_boxes(HEADS, 64, 64)
    feed = Feed(Mixture((pool,), (1.0,)), PLAIN, spec, anchors, Matching(), 1, 0)
    batch = feed.batch_of(0)
    written = picture(0, 64, 64)[..., ::-1].astype(np.float32) / 128 - 1
    # JPEG changes a little, a wrong channel order a lot.
    assert np.abs(batch.images[0] - written).mean() < 0.05
    boxes = np.array([[0.1, 0.2, 0.5, 0.9], [0.5, 0.0, 1.0, 0.5]], np.float32) * 64
    expected = make_targets(anchors, boxes, np.zeros(2, np.int32), np.zeros(2, np.bool_), Matching())
    np.testing.assert_allclose(batch.targets[0], expected, atol=1e-4)
    blue = dataclasses.replace(feed, spec=dataclasses.replace(spec, color="bgr")).batch_of(0)
    np.testing.assert_array_equal(blue.images, batch.images[..., ::-1])


def test_shares_are_obeyed(feed: Feed) -> None:
    random = np.random.default_rng(0)
    # Pictures of the second pool have no wren.
    draws = [feed.mixture.draw(random) for _ in range(1200)]
    names = [tuple(example.class_ids.tolist()) for example in draws]
    assert set(names) == {(0, 0), (1, 0), (1, 1)}
    assert np.mean([name == (1, 1) for name in names]) == pytest.approx(0.25, abs=0.04)


def test_pool_knows_the_networks_classes(tmp_path: Path) -> None:
    pool = Pool(dataset(tmp_path, 2, ("owl", "robin")), LABELS)
    assert len(pool) == 2
    assert pool[0].class_ids.tolist() == []
    assert pool[1].class_ids.tolist() == [1]
    np.testing.assert_allclose(pool[1].boxes, [[8, 12, 40, 54]], rtol=1e-5)
    assert pool[1].pixels.shape == (60, 80, 3)
    with pytest.raises(InputError, match="the model knows jay"):
        Pool(dataset(tmp_path, 2), ("jay",))


def test_large_pictures_are_kept_small(tmp_path: Path) -> None:
    example = Pool(dataset(tmp_path, 1, size=(1000, 800)), LABELS)[0]
    assert example.pixels.shape == (512, 640, 3)
    np.testing.assert_allclose(example.boxes[0], [64, 102.4, 320, 460.8], rtol=1e-5)


def test_error_in_the_worker_reaches_the_caller(feed: Feed) -> None:
    class Broken(Mixture):
        def draw(self, random: np.random.Generator) -> Example:
            raise InputError("the pool is broken")

    broken = dataclasses.replace(feed, mixture=Broken(feed.mixture.pools, feed.mixture.shares))
    with pytest.raises(InputError, match="the pool is broken"):
        list(broken.batches(0, 20))


def test_stopping_early_leaves_no_thread(feed: Feed) -> None:
    import threading

    batches = feed.batches(0, 1000)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgewren-feed")]


def test_pictures_without_objects_are_asked_for_nothing(tmp_path: Path) -> None:
    data = dataset(tmp_path, 1)
    none = Truth(data.truths[0].path, np.empty((0, 4), np.float32), np.empty(0, np.int32))
    pool = Pool(dataclasses.replace(data, truths=(none,)), LABELS)
    spec = InputSpec("image", 64, 64)
    feed = Feed(Mixture((pool,), (1.0,)), Augmentation(), spec, anchor_boxes(HEADS, 64, 64), Matching(), 4, 0)
    assert (feed.batch_of(0).targets[..., 4] == EMPTY).all()
