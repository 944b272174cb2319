"""Training pictures: pools, their mixture, and batches made ahead of time.

Every batch is a function of the seed and its number alone. That is what lets a training that was killed go on as if
nothing had happened.
"""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from convert.data import Dataset
from convert.train.augment import Augmentation, Example, augment
from convert.train.targets import Floats, Matching, make_targets
from runtime.card import InputSpec
from runtime.sources.images import read_image

# Pictures are kept compressed: a few thousand fit into memory, and decoding one takes about a millisecond.
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]
# Larger pictures only cost time: the network never sees more than its input.
_LONGEST_SIDE = 640
_AHEAD = 4


class Pool:
    """The pictures of one data set, in memory.

    Args:
        dataset: The data set.
        labels: The network's class names; objects of other classes are not used.
    """

    def __init__(self, dataset: Dataset, labels: tuple[str, ...]) -> None:
        classes = dataset.class_map(labels)
        self._items: list[tuple[npt.NDArray[np.uint8], Floats, npt.NDArray[np.int32]]] = []
        for truth in dataset.truths:
            class_ids = classes[truth.class_ids]
            known = class_ids >= 0
            self._items.append((compressed(truth.path), truth.boxes[known], class_ids[known]))

    def __len__(self) -> int:
        return len(self._items)

    @functools.cached_property
    def digest(self) -> bytes:
        """Hash of pixels, boxes and classes: corrected labels are other pictures to train on."""
        found = hashlib.sha256()
        for item in self._items:
            for array in item:
                found.update(repr(array.shape).encode() + array.tobytes())
        return found.digest()

    def __getitem__(self, index: int) -> Example:
        data, boxes, class_ids = self._items[index]
        pixels = decompressed(data)
        height, width = pixels.shape[:2]
        scaled = (boxes * np.array([width, height] * 2)).astype(np.float32)
        return Example(pixels, scaled, class_ids, np.zeros(len(boxes), np.bool_))


class Source(Protocol):
    """Pictures by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@dataclass(frozen=True)
class Mixture:
    """Sources of pictures and how often each is drawn from.

    Attributes:
        pools: At least one, none empty.
        shares: Relative, same order.
    """

    pools: tuple[Source, ...]
    shares: tuple[float, ...]

    def draw(self, random: np.random.Generator) -> Example:
        """A picture by chance."""
        weights = np.array(self.shares) / sum(self.shares)
        pool = self.pools[int(random.choice(len(self.pools), p=weights))]
        return pool[int(random.integers(len(pool)))]


@dataclass(frozen=True)
class Batch:
    """One step's work.

    Attributes:
        images: ``(b, size, size, 3)`` float32, as the network takes them.
        targets: ``(b, n, 5)`` float32, see :func:`convert.train.targets.make_targets`.
    """

    images: Floats
    targets: Floats


@dataclass(frozen=True)
class Feed:
    """Makes batches.

    Attributes:
        mixture: The pictures.
        augmentation: How they change.
        spec: How pixels become network input; its size is the batches'.
        anchors: ``(n, 4)`` of that size.
        matching: Overlaps.
        batch: Pictures per step.
        seed: Of everything drawn.
    """

    mixture: Mixture
    augmentation: Augmentation
    spec: InputSpec
    anchors: Floats
    matching: Matching
    batch: int
    seed: int

    def batch_of(self, step: int) -> Batch:
        """The batch of a step; the same whenever it is asked for."""
        size = self.spec.width
        images = np.empty((self.batch, size, size, 3), np.float32)
        targets = []
        scale, offset = np.array(self.spec.scale, np.float32), np.array(self.spec.offset, np.float32)
        for index in range(self.batch):
            random = np.random.default_rng([self.seed, step, index])
            example = augment(self.mixture.draw, size, self.augmentation, random)
            pixels = example.pixels[..., ::-1] if self.spec.color == "rgb" else example.pixels
            images[index] = pixels * scale + offset
            targets.append(make_targets(self.anchors, example.boxes, example.class_ids, example.ignored, self.matching))
        return Batch(images, np.stack(targets))

    def batches(self, first: int, last: int) -> Iterator[tuple[int, Batch]]:
        """Steps ``first`` to ``last - 1`` with their batches, made in another thread ahead of their use."""
        with ThreadPoolExecutor(1, thread_name_prefix="edgewren-feed") as worker:
            waiting: deque[tuple[int, Future[Batch]]] = deque()
            for step in range(first, last):
                waiting.append((step, worker.submit(self.batch_of, step)))
                if len(waiting) > _AHEAD:
                    number, future = waiting.popleft()
                    yield number, future.result()
            for number, future in waiting:
                yield number, future.result()


def decompressed(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The pixels of what :func:`compressed` kept."""
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def compressed(path: Path) -> npt.NDArray[np.uint8]:
    """A picture as it is kept in memory."""
    pixels = read_image(path).pixels
    factor = _LONGEST_SIDE / max(pixels.shape[:2])
    if factor < 1:
        pixels = np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.imencode(".jpg", pixels, _QUALITY)[1], np.uint8)
