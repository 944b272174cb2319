"""Average precision of detections, by pycocotools.

AP is COCO's (https://cocodataset.org/#detection-eval): 101-point interpolated precision, averaged over classes that
occur, at IoU 0.5 (AP50), 0.75 (AP75) and over 0.50:0.05:0.95 (AP50-95), up to 100 detections per picture.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from convert.data import Dataset
from runtime.detections import Detections
from runtime.detector import Detector
from runtime.sources.images import read_image

# Precision is integrated down to this score; a higher floor would cut the curve and flatter nobody.
SCORE_FLOOR = 0.001
MAX_DETECTIONS = 100

# pycocotools' names of its area ranges, in its order; sizes are those of the boxes in the picture as it is.
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Prediction:
    """What a network found in one picture, and the picture's size in pixels."""

    found: Detections
    width: int
    height: int


def predict(
    detector: Detector, dataset: Dataset, progress: Callable[[int, int], None] | None = None
) -> list[Prediction]:
    """Runs a detector over a data set with the settings of an evaluation.

    Args:
        detector: Its score threshold, box limit and suppression (class by class) are set for the run and put back.
        dataset: The pictures.
        progress: Called with (done, total).

    Raises:
        InputError: A picture cannot be read.
    """
    saved = detector.score, detector.max_detections, detector.class_agnostic
    detector.score, detector.max_detections, detector.class_agnostic = SCORE_FLOOR, MAX_DETECTIONS, False
    try:
        predictions = []
        for index, truth in enumerate(dataset.truths):
            frame = read_image(truth.path)
            predictions.append(Prediction(detector.detect(frame), frame.width, frame.height))
            if progress:
                progress(index + 1, len(dataset.truths))
        return predictions
    finally:
        detector.score, detector.max_detections, detector.class_agnostic = saved


@dataclass(frozen=True)
class PixelTruth:
    """The objects of one picture that a model could know.

    Attributes:
        boxes: ``(n, 4)`` float64, ``x1, y1, x2, y2`` in pixels of the picture.
        class_ids: ``(n,)`` int32, the model's class index.
        difficult: ``(n,)`` bool, Pascal VOC's flag; false where the data set has none.
    """

    boxes: npt.NDArray[np.float64]
    class_ids: npt.NDArray[np.int32]
    difficult: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ClassScore:
    """One class: how many objects of it there are, and AP in percent."""

    objects: int
    ap50: float
    ap50_95: float


@dataclass(frozen=True)
class DetectionScore:
    """COCO's figures, in percent; ``None`` where there is no object to find.

    Attributes:
        objects: Objects of classes the model knows.
        map50, map75, map50_95: Average over the classes that occur.
        by_size: AP50-95 of ``small`` objects (up to 32x32 pixels of the picture), ``medium`` (up to 96x96) and
            ``large`` ones, by the area of their boxes.
        objects_by_size: How many there are of each; one exactly on a border belongs to both sides, as in pycocotools.
        per_class: The classes that occur, by name.
    """

    objects: int
    map50: float | None
    map75: float | None
    map50_95: float | None
    by_size: dict[str, float | None]
    objects_by_size: dict[str, int]
    per_class: dict[str, ClassScore]


@dataclass(frozen=True)
class ClassMatches:
    """Which detections of one class are right, for all that is computed from that.

    Attributes:
        images: ``(n,)`` int64, number of the picture of each detection; best score first, pictures in order among
            equal scores.
        hits: ``(10, n)`` bool, whether it found an object of its own, by IoU threshold 0.50:0.05:0.95.
        objects: ``(pictures,)`` int64, objects of the class in each picture.
    """

    images: npt.NDArray[np.int64]
    hits: npt.NDArray[np.bool_]
    objects: npt.NDArray[np.int64]


class CocoMatching:
    """Detections matched with the truth, once, by pycocotools.

    Args:
        predictions: One per picture of ``dataset``, in its order.
        dataset: The truth.
        labels: The model's class names.
        sizes: Also by size of the objects, which takes three times as long.

    Raises:
        InputError: The data set and the model have not one class in common.
    """

    def __init__(
        self, predictions: Sequence[Prediction], dataset: Dataset, labels: tuple[str, ...], sizes: bool = True
    ) -> None:
        self._labels, self._pictures = labels, len(predictions)
        self._sizes = SIZES if sizes else ()
        images = [{"id": i, "width": p.width, "height": p.height} for i, p in enumerate(predictions)]
        with contextlib.redirect_stdout(io.StringIO()):
            truth = _coco(images, labels, _truth_rows(pixel_truths(predictions, dataset, labels)))
            self._evaluation = COCOeval(truth, _coco(images, labels, _found_rows(predictions)), "bbox")
            self._evaluation.params.maxDets = [MAX_DETECTIONS]
            self._evaluation.params.areaRng = self._evaluation.params.areaRng[: 1 + len(self._sizes)]
            self._evaluation.evaluate()

    def score(self) -> DetectionScore:
        """Pycocotools' figures."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._evaluation.accumulate()
        # (thresholds, recalls, classes, sizes); -1 for a class that does not occur at that size.
        precision = self._evaluation.eval["precision"][..., 0]
        everything = precision[..., 0]
        per_class = {}
        for number, name in enumerate(self._labels):
            ap50, ap50_95 = _mean(everything[0, :, number]), _mean(everything[:, :, number])
            if ap50 is not None and ap50_95 is not None:
                per_class[name] = ClassScore(self._objects(number, 0), ap50, ap50_95)
        classes = range(len(self._labels))
        return DetectionScore(
            objects=sum(self._objects(number, 0) for number in classes),
            map50=_mean(everything[0]),
            map75=_mean(everything[5]),
            map50_95=_mean(everything),
            by_size={name: _mean(precision[..., size]) for size, name in enumerate(self._sizes, start=1)},
            objects_by_size={
                name: sum(self._objects(number, size) for number in classes)
                for size, name in enumerate(self._sizes, start=1)
            },
            per_class=per_class,
        )

    def matches(self) -> tuple[ClassMatches, ...]:
        """The matches of each class that has objects, at all sizes."""
        found = (self._class_matches(number) for number in range(len(self._labels)))
        return tuple(one for one in found if one.objects.any())

    def _class_matches(self, number: int) -> ClassMatches:
        objects = np.zeros(self._pictures, np.int64)
        images, scores, hits = [], [], [np.zeros((len(self._evaluation.params.iouThrs), 0), np.bool_)]
        for image, record in enumerate(self._records(number, 0)):
            if record:
                objects[image] = np.count_nonzero(record["gtIgnore"] == 0)
                scores += record["dtScores"]
                images += [image] * len(record["dtScores"])
                hits.append(record["dtMatches"] > 0)
        order = np.argsort(-np.array(scores, np.float64), kind="stable")
        return ClassMatches(np.array(images, np.int64)[order], np.concatenate(hits, axis=1)[:, order], objects)

    def _objects(self, number: int, size: int) -> int:
        return sum(int(np.count_nonzero(one["gtIgnore"] == 0)) for one in self._records(number, size) if one)

    def _records(self, number: int, size: int) -> list[Any]:
        """Pycocotools' record of each picture; ``None`` where it has neither objects nor detections of the class."""
        start = (number * (1 + len(self._sizes)) + size) * self._pictures
        records: list[Any] = self._evaluation.evalImgs[start : start + self._pictures]
        return records


def average_precision(predictions: Sequence[Prediction], dataset: Dataset, labels: tuple[str, ...]) -> dict[str, float]:
    """AP50 and AP50-95 in percent, for logs and cards; :class:`CocoMatching` tells more.

    Args:
        predictions: One per picture of ``dataset``, in its order.
        dataset: The truth.
        labels: The model's class names.

    Returns:
        ``{"map50": .., "map50_95": ..}``; 0 where the truth has no object at all.

    Raises:
        InputError: The data set and the model have not one class in common.
    """
    score = CocoMatching(predictions, dataset, labels, sizes=False).score()
    return {"map50": score.map50 or 0.0, "map50_95": score.map50_95 or 0.0}


def pixel_truths(predictions: Sequence[Prediction], dataset: Dataset, labels: tuple[str, ...]) -> list[PixelTruth]:
    """The truth in pixels and in the model's class numbers, without objects the model cannot know.

    Args:
        predictions: One per picture; they know its size.
        dataset: The truth.
        labels: The model's class names.

    Raises:
        InputError: The data set and the model have not one class in common.
    """
    class_map = dataset.class_map(labels)
    truths = []
    for truth, prediction in zip(dataset.truths, predictions, strict=True):
        class_ids = class_map[truth.class_ids]
        known = class_ids >= 0
        boxes = truth.boxes[known].astype(np.float64) * np.array([prediction.width, prediction.height] * 2)
        difficult = np.zeros(len(known), np.bool_) if truth.difficult is None else truth.difficult
        truths.append(PixelTruth(boxes, class_ids[known], difficult[known]))
    return truths


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    known = precision[precision > -1]
    return 100 * float(known.mean()) if known.size else None


def _truth_rows(truths: Sequence[PixelTruth]) -> Iterator[dict[str, Any]]:
    for image_id, truth in enumerate(truths):
        for box, class_id in zip(truth.boxes.tolist(), truth.class_ids.tolist(), strict=True):
            yield _row(image_id, class_id, box)


def _found_rows(predictions: Sequence[Prediction]) -> Iterator[dict[str, Any]]:
    for image_id, prediction in enumerate(predictions):
        found = prediction.found
        rows = zip(found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
        for box, score, class_id in rows:
            yield {**_row(image_id, class_id, box), "score": score}


def _row(image_id: int, class_id: int, box: Sequence[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    bbox = [x1, y1, width, height]
    return {"image_id": image_id, "category_id": class_id, "bbox": bbox, "area": width * height, "iscrowd": 0}


def _coco(images: list[dict[str, int]], labels: tuple[str, ...], rows: Iterator[dict[str, Any]]) -> COCO:
    """Pycocotools' data set. Detections get one too: its ``loadRes`` fails where there is none."""
    made = COCO()
    made.dataset = {
        "info": {},
        "images": images,
        "categories": [{"id": number, "name": name} for number, name in enumerate(labels)],
        # pycocotools takes a match with id 0 for no match.
        "annotations": [{**row, "id": number} for number, row in enumerate(rows, start=1)],
    }
    made.createIndex()
    return made
