"""Average precision of detections, by pycocotools.

AP50 and AP50-95 are COCO's (https://cocodataset.org/#detection-eval): 101-point interpolated precision, averaged over
classes that occur, at IoU 0.5 and at 0.50:0.05:0.95, up to 100 detections per picture.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from convert.data import Dataset
from runtime.detections import Detections
from runtime.detector import Detector
from runtime.sources.images import read_image

# Precision is integrated down to this score; a higher floor would cut the curve and flatter nobody.
SCORE_FLOOR = 0.001
MAX_DETECTIONS = 100


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


def average_precision(predictions: Sequence[Prediction], dataset: Dataset, labels: tuple[str, ...]) -> dict[str, float]:
    """AP50 and AP50-95 in percent.

    Args:
        predictions: One per picture of ``dataset``, in its order.
        dataset: The truth.
        labels: The model's class names.

    Returns:
        ``{"map50": .., "map50_95": ..}``; 0 where the truth has no object at all.
    """
    truth, results = _coco_truth(predictions, dataset, labels), _coco_results(predictions)
    if not results or not truth["annotations"]:
        return {"map50": 0.0, "map50_95": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = truth
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        "map50": 100 * max(0.0, float(evaluation.stats[1])),
        "map50_95": 100 * max(0.0, float(evaluation.stats[0])),
    }


def _coco_truth(predictions: Sequence[Prediction], dataset: Dataset, labels: tuple[str, ...]) -> dict[str, Any]:
    class_map = dataset.class_map(labels)
    annotations: list[dict[str, Any]] = []
    for image_id, (truth, prediction) in enumerate(zip(dataset.truths, predictions, strict=True)):
        size = np.array([prediction.width, prediction.height] * 2)
        for box, class_id in zip(truth.boxes * size, class_map[truth.class_ids], strict=True):
            if class_id < 0:
                continue
            x1, y1, x2, y2 = map(float, box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(class_id),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    return {
        "info": {},
        "images": [{"id": i, "width": p.width, "height": p.height} for i, p in enumerate(predictions)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(labels)],
        "annotations": annotations,
    }


def _coco_results(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    results = []
    for image_id, prediction in enumerate(predictions):
        found = prediction.found
        rows = zip(found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True)
        for (x1, y1, x2, y2), score, class_id in rows:
            results.append(
                {"image_id": image_id, "category_id": class_id, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            )
    return results
