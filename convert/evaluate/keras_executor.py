"""A float Keras network behind the device's interface, so that both run through the same steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.cards import make_card
from convert.quantize.heads import SplitModel, split_heads
from convert.source import SourceModel
from runtime.card import InputSpec
from runtime.detector import Detector
from runtime.engine import TensorSpec


class KerasExecutor:
    """Runs a split network in float.

    Args:
        split: The network.
        spec: Its input.

    Attributes:
        inputs, outputs: Float tensors with the card's names.
    """

    def __init__(self, split: SplitModel, spec: InputSpec) -> None:
        float32 = np.dtype(np.float32)
        self._model = split.model
        self._input = np.zeros((1, spec.height, spec.width, 3), np.float32)
        self._results: list[npt.NDArray[Any]] = []
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec(spec.name, self._input.shape, float32),)
        self.outputs: tuple[TensorSpec, ...] = tuple(
            TensorSpec(binding.name, (1, *output.shape[1:]), float32)
            for binding, output in zip(split.bindings, split.model.outputs, strict=True)
        )

    def input_view(self, index: int = 0) -> npt.NDArray[Any]:
        """The input's memory."""
        return self._input

    def invoke(self) -> None:
        """Runs the network once."""
        # A model with a single output returns it bare.
        results = keras.tree.flatten(self._model.predict_on_batch(self._input))
        self._results = [np.asarray(result) for result in results]

    def output_view(self, index: int) -> npt.NDArray[Any]:
        """The result of one output."""
        return self._results[index]


def float_detector(source: SourceModel, score: float | None = None) -> Detector:
    """A float network behind the device's own steps.

    Args:
        source: The network.
        score: Least score of a detection instead of the source's.

    Raises:
        InputError: Heads that the decoder does not know, or a score outside of 0..1.
    """
    split = split_heads(source)
    return Detector(make_card(source, split.bindings), KerasExecutor(split, source.input), score)
