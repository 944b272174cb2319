"""A model file that says what a picture shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.card import ModelCard
from runtime.decode.classes import ClassesDecoder
from runtime.detections import StageMs
from runtime.engine import Executor
from runtime.errors import InputError, RunError
from runtime.frame import Frame
from runtime.opening import check_task, open_engine
from runtime.preprocess import Preprocessor


@dataclass(slots=True)
class Classification:
    """The likeliest classes of one picture: equal-length arrays, best first.

    Attributes:
        class_ids: ``(k,)`` int32, index into the model card's labels; never the background.
        scores: ``(k,)`` float32, 0..1.
        ms: Time per stage.
    """

    class_ids: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    ms: StageMs = field(default_factory=StageMs)

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self, frame: Frame, labels: tuple[str, ...]) -> dict[str, Any]:
        """The JSON object of one image: see "JSON" in ``docs/commands.md``."""
        ranked = zip(self.class_ids.tolist(), self.scores.tolist(), strict=True)
        classes = [
            {"label": labels[class_id], "class_id": class_id, "score": round(score, 4)} for class_id, score in ranked
        ]
        return {"source": frame.source, "classes": classes}


class Classifier:
    """A network, its card, and the way from a picture to its classes.

    Use :meth:`open` for a model file. The constructor takes any executor, so that a float network on the workstation
    is evaluated through the very same steps.

    Attributes:
        card: The model card.
        top: How many classes to report.

    Example:
        >>> with Classifier.open("mobilenet_v2.tflite") as classifier:      # doctest: +SKIP
        ...     best = classifier.classify(cv2.imread("parrot.jpg"))        # doctest: +SKIP
        ...     print(classifier.labels[best.class_ids[0]], best.scores[0]) # doctest: +SKIP
    """

    def __init__(self, card: ModelCard, executor: Executor, top: int = 5) -> None:
        check_task(card, "classify")
        if len(executor.inputs) != 1:
            raise InputError(
                f"{card.name} has {len(executor.inputs)} inputs", "expected one picture", "convert it with one"
            )
        if top < 1:
            raise InputError(f"top is {top}", "expected at least 1", "give --top K")
        self.card = card
        self.top = top
        self._executor: Executor | None = executor
        self._preprocessor = Preprocessor(card.input, executor.inputs[0])
        self._decoder = ClassesDecoder(card, executor)

    @classmethod
    def open(
        cls,
        path: str | Path,
        threads: int | None = None,
        top: int = 5,
        labels: str | Path | None = None,
        delegate: str | None = None,
    ) -> Classifier:
        """Loads a classifier with a card, or one from elsewhere that can be recognised.

        Args:
            path: The ``.tflite`` file.
            threads: Interpreter threads; by default what ``bench --tune`` found for this model on this board, else one
                per core, at most 4.
            top: How many classes to report.
            labels: Class names, one per line, instead of the file's.
            delegate: An external delegate, as for :meth:`runtime.Detector.open`.

        Raises:
            InputError: The file is missing, damaged, of an unknown layout or no classifier; the card and its tensors
                disagree; the label file does not fit.
        """
        return cls(*open_engine(Path(path), threads, labels, delegate), top)

    @property
    def executor(self) -> Executor:
        """The network.

        Raises:
            RunError: The classifier was closed.
        """
        if self._executor is None:
            raise RunError("this classifier was closed", "", "open it again")
        return self._executor

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class index."""
        return self.card.labels.names

    def classify(self, image: Frame | npt.NDArray[np.uint8]) -> Classification:
        """Says what a picture shows.

        Args:
            image: A frame, or a ``(h, w, 3)`` uint8 array in OpenCV's order (blue, green, red).

        Returns:
            The ``top`` likeliest classes.
        """
        frame = image if isinstance(image, Frame) else Frame(image)
        executor = self.executor
        start = time.perf_counter()
        self._preprocessor.write(frame, executor.input_view())
        prepared = time.perf_counter()
        executor.invoke()
        inferred = time.perf_counter()
        class_ids, scores = self._decoder.decode(executor, self.top)
        done = time.perf_counter()
        ms = StageMs((prepared - start) * 1e3, (inferred - prepared) * 1e3, (done - inferred) * 1e3)
        return Classification(class_ids, scores, ms)

    def close(self) -> None:
        """Frees the network; the classifier cannot be used after this."""
        self._executor = None

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
