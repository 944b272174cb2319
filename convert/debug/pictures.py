"""The pictures of an explanation, and detections from heads that were computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.data import Dataset
from convert.evaluate.agreement import MIN_SCORE
from convert.evaluate.detection import MAX_DETECTIONS, Prediction
from runtime.card import InputSpec, ModelCard
from runtime.detector import Detector
from runtime.engine import TensorSpec
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.preprocess import Preprocessor
from runtime.sources.images import read_image

Floats = npt.NDArray[np.float32]
# More pictures make figures steadier and every restored tensor slower.
MAX_PICTURES = 32


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures in memory.

    Attributes:
        data: The pictures' truths, as many as there are frames.
        frames: The pictures.
        chosen: Their positions among those they were taken from.
    """

    data: Dataset
    frames: tuple[Frame, ...]
    chosen: tuple[int, ...] = ()

    @classmethod
    def read(cls, data: Dataset, labels: tuple[str, ...], most: int = MAX_PICTURES) -> Pictures:
        """Evenly spaced pictures of a data set; their truths are forgotten where the model knows no class of them.

        Raises:
            InputError: One cannot be read.
        """
        try:
            data.class_map(labels)
        except InputError:
            data = replace(data, annotated=False)
        count = min(most, len(data.truths))
        truths = tuple(data.truths[i * len(data.truths) // count] for i in range(count))
        return cls(replace(data, truths=truths), tuple(read_image(truth.path) for truth in truths))

    def few(self, count: int) -> Pictures:
        """A few of them: those with most objects, where that is known."""
        chosen = sorted(range(len(self.frames)), key=lambda i: -len(self.data.truths[i].class_ids))[:count]
        truths = tuple(self.data.truths[i] for i in chosen)
        return Pictures(replace(self.data, truths=truths), tuple(self.frames[i] for i in chosen), tuple(chosen))

    def mirrored(self) -> Pictures:
        """The same from left to right; the truths are not."""
        frames = [replace(frame, pixels=np.ascontiguousarray(frame.pixels[:, ::-1])) for frame in self.frames]
        return replace(self, frames=tuple(frames))

    def samples(self, spec: InputSpec) -> Floats:
        """``(n, height, width, 3)`` float32 inputs of a network."""
        shape = (1, spec.height, spec.width, 3)
        preprocessor = Preprocessor(spec, TensorSpec(spec.name, shape, np.dtype(np.float32)))
        samples = np.empty((len(self.frames), *shape[1:]), np.float32)
        for index, frame in enumerate(self.frames):
            preprocessor.write(frame, samples[index : index + 1])
        return samples


class _Replay:
    """An executor whose results are known already."""

    def __init__(self, spec: InputSpec, names: Sequence[str], heads: Sequence[Floats]) -> None:
        float32 = np.dtype(np.float32)
        self._input = np.zeros((1, spec.height, spec.width, 3), np.float32)
        self._heads, self._at = heads, -1
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec(spec.name, self._input.shape, float32),)
        self.outputs: tuple[TensorSpec, ...] = tuple(
            TensorSpec(name, (1, *head.shape[1:]), float32) for name, head in zip(names, heads, strict=True)
        )

    def input_view(self, index: int = 0) -> npt.NDArray[Any]:
        return self._input

    def invoke(self) -> None:
        self._at += 1

    def output_view(self, index: int) -> npt.NDArray[Any]:
        return self._heads[index][self._at : self._at + 1]


def detections(
    card: ModelCard, names: Sequence[str], heads: Sequence[Floats], frames: Sequence[Frame]
) -> list[Prediction]:
    """What a detector finds with a score of at least 0.25, given what its network computed.

    Args:
        card: How outputs become boxes.
        names: Of the outputs.
        heads: Float results, ``(pictures, ...)`` each.
        frames: The pictures.
    """
    detector = Detector(card, _Replay(card.input, names, heads), MIN_SCORE)
    detector.max_detections, detector.class_agnostic = MAX_DETECTIONS, False
    return [Prediction(detector.detect(frame), frame.width, frame.height) for frame in frames]
