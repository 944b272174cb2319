"""A float Keras network behind the device's interface, so that both run through the same steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from convert.quantize.heads import SplitModel
from runtime.card import InputSpec
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
