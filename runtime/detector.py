"""A model file that finds objects in pictures."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime.card import ModelCard
from runtime.decode import Candidates, make_decoder
from runtime.detections import Detections, StageMs
from runtime.engine import Executor, Outputs
from runtime.errors import InputError, RunError
from runtime.frame import Frame
from runtime.nms import class_wise_nms, soft_nms
from runtime.opening import check_task, open_engine
from runtime.preprocess import Placement, Preprocessor

if TYPE_CHECKING:
    from runtime.stages import Stages


class Detector:
    """A network, its card, and the way from a picture to boxes.

    Use :meth:`open` for a model file. The constructor takes any executor, so that a float network on the workstation
    is evaluated through the very same steps.

    Attributes:
        card: The model card.
        score: Lowest score reported, 0..1.
        iou: Overlap above which the worse of two boxes of a class is dropped, 0..1.
        max_detections: Most boxes reported per picture.
        class_agnostic: Whether boxes of different classes drop each other too.
        soft_nms: Lower the scores of overlapped boxes instead of dropping them (``runtime.nms.soft_nms``); ``iou``
            then counts for nothing.

    Example:
        >>> with Detector.open("model.tflite", threads=4) as detector:      # doctest: +SKIP
        ...     found = detector.detect(cv2.imread("dog.jpg"))              # doctest: +SKIP
        ...     print(found.boxes, found.scores, found.class_ids)           # doctest: +SKIP
    """

    def __init__(self, card: ModelCard, executor: Executor, score: float | None = None) -> None:
        check_task(card, "detect")
        if len(executor.inputs) != 1:
            raise InputError(
                f"{card.name} has {len(executor.inputs)} inputs", "expected one picture", "convert it with one"
            )
        self.card = card
        self._executor: Executor | None = executor
        self.score = card.thresholds.score if score is None else score
        self.iou = card.thresholds.iou
        self.max_detections = card.thresholds.max_detections
        self.class_agnostic = card.thresholds.class_agnostic
        self.soft_nms = False
        if not 0 <= self.score <= 1:
            raise InputError(f"score is {self.score}", "expected a number in 0..1", "give --score S")
        self._preprocessor = Preprocessor(card.input, executor.inputs[0])
        self._decoder = make_decoder(card, executor)

    @classmethod
    def open(
        cls,
        path: str | Path,
        threads: int | None = None,
        score: float | None = None,
        labels: str | Path | None = None,
        delegate: str | None = None,
    ) -> Detector:
        """Loads a model file made by ``python -m convert``, or one from elsewhere that can be recognised.

        Args:
            path: The ``.tflite`` file.
            threads: Interpreter threads; by default what ``bench --tune`` found for this model on this board, else one
                per core, at most 4.
            score: Lowest score reported; by default the card's.
            labels: Class names, one per line, instead of the file's.
            delegate: An external delegate that is asked before XNNPACK, ``LIBRARY`` or ``LIBRARY:KEY=VALUE,..``. What
                became of it is in ``executor.delegate``; where it is of no use, XNNPACK runs the model.

        Raises:
            InputError: The file is missing, damaged, of an unknown layout or no detector; the card and its tensors
                disagree; the label file does not fit.
        """
        return cls(*open_engine(Path(path), threads, labels, delegate), score)

    @property
    def executor(self) -> Executor:
        """The network.

        Raises:
            RunError: The detector was closed.
        """
        if self._executor is None:
            raise RunError("this detector was closed", "", "open it again")
        return self._executor

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class index."""
        return self.card.labels.names

    def detect(self, image: Frame | npt.NDArray[np.uint8]) -> Detections:
        """Finds objects.

        Args:
            image: A frame, or a ``(h, w, 3)`` uint8 array in OpenCV's order (blue, green, red).

        Returns:
            Boxes in pixels of ``image``, best first.
        """
        frame = image if isinstance(image, Frame) else Frame(image)
        executor = self.executor
        start = time.perf_counter()
        placement = self._preprocessor.write(frame, executor.input_view())
        prepared = time.perf_counter()
        executor.invoke()
        inferred = time.perf_counter()
        found = self._finish(executor, placement)
        done = time.perf_counter()
        found.ms = StageMs((prepared - start) * 1e3, (inferred - prepared) * 1e3, (done - inferred) * 1e3)
        return found

    def stages(self) -> Stages:
        """The steps of :meth:`detect` for threads of their own; meanwhile :meth:`detect` must not be called."""
        from runtime.stages import Stages

        return Stages(self._preprocessor, self.executor, self._finish)

    def _finish(self, outputs: Outputs, placement: Placement) -> Detections:
        """What the network's outputs say, in pixels of the picture."""
        found = self._decoder.decode(outputs, self.score)
        if found.final and self.iou >= 1 and not self.soft_nms:
            best = slice(self.max_detections)
            return Detections(placement.to_image(found.boxes[best]), found.scores[best], found.class_ids[best])
        kept, scores = self._suppress(found)
        boxes = placement.to_image(found.boxes.take(kept, axis=0))
        return Detections(boxes, scores, found.class_ids.take(kept))

    def _suppress(self, found: Candidates) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Which candidates stay, best first, and their scores."""
        groups = np.zeros_like(found.class_ids) if self.class_agnostic else found.class_ids
        if self.soft_nms:
            return soft_nms(found.boxes, found.scores, groups, self.score, self.max_detections)
        kept = class_wise_nms(found.boxes, found.scores, groups, self.iou, self.max_detections)
        return kept, found.scores.take(kept)

    def close(self) -> None:
        """Frees the network; the detector cannot be used after this."""
        self._executor = None

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
