"""A detection taken apart, so that a picture can be prepared and another's boxes read while the network runs.

The interpreter lets other threads run while it computes, but its tensors must be left alone meanwhile. So a picture is
prepared in memory of its own and copied into the input tensor, and outputs are copied out: tens of microseconds each,
against the milliseconds of resizing and reading that no longer stand between two runs of the network. The memory is
taken from a few buffers that go round; a fresh one for every frame would cost more than the copying.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from runtime.detections import Detections, StageMs
from runtime.engine import Executor, Outputs
from runtime.frame import Frame
from runtime.preprocess import Placement, Preprocessor

T = TypeVar("T")
Finish = Callable[[Outputs, Placement], Detections]


@dataclass(slots=True)
class Prepared:
    """A picture ready for the input tensor.

    Attributes:
        frame: The picture it was made of.
        pixels: What goes into the tensor, of its shape and type.
        placement: Where the picture lies in it.
        ms: Milliseconds it took.
    """

    frame: Frame
    pixels: npt.NDArray[Any]
    placement: Placement
    ms: float


@dataclass(slots=True)
class Inferred:
    """The network's answer, not read yet: copies of its outputs."""

    frame: Frame
    outputs: _Copies
    placement: Placement
    ms: tuple[float, float]


class Stages:
    """The three steps of a detection; each may run in a thread of its own, but in one only.

    Args:
        preprocessor: Writes pictures.
        executor: The network.
        finish: Makes detections of its outputs.
    """

    def __init__(self, preprocessor: Preprocessor, executor: Executor, finish: Finish) -> None:
        self._preprocessor = preprocessor
        self._executor = executor
        self._finish = finish
        spec = executor.inputs[0]
        self._pixels: _Pool[npt.NDArray[Any]] = _Pool(lambda: np.empty(spec.shape, spec.dtype))
        self._outputs: _Pool[_Copies] = _Pool(lambda: _Copies(executor))

    def prepare(self, frame: Frame) -> Prepared:
        """Resizes, reorders and quantises a picture."""
        start = time.perf_counter()
        pixels = self._pixels.take()
        placement = self._preprocessor.write(frame, pixels)
        return Prepared(frame, pixels, placement, 1e3 * (time.perf_counter() - start))

    def discard(self, prepared: Prepared) -> None:
        """Takes back a prepared picture nobody wants any more."""
        self._pixels.give(prepared.pixels)

    def infer(self, prepared: Prepared) -> Inferred:
        """Runs the network. The prepared picture is used up."""
        start = time.perf_counter()
        _copy(self._executor.input_view(), prepared.pixels)
        self._pixels.give(prepared.pixels)
        self._executor.invoke()
        outputs = self._outputs.take()
        outputs.copy()
        ms = prepared.ms, 1e3 * (time.perf_counter() - start)
        return Inferred(prepared.frame, outputs, prepared.placement, ms)

    def finish(self, inferred: Inferred) -> Detections:
        """Reads the boxes. The network's answer is used up."""
        start = time.perf_counter()
        found = self._finish(inferred.outputs, inferred.placement)
        self._outputs.give(inferred.outputs)
        found.ms = StageMs(*inferred.ms, 1e3 * (time.perf_counter() - start))
        return found


def _copy(target: npt.NDArray[Any], source: npt.NDArray[Any]) -> None:
    """Copies an array of the same shape and type without letting another thread run Python meanwhile.

    ``np.copyto`` would: then the network stands still until that thread has read its boxes.
    """
    target.reshape(-1).view(np.uint8).data[:] = source.reshape(-1).view(np.uint8).data


class _Copies:
    """Outputs as they were after one run."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._arrays: list[npt.NDArray[Any]] = [np.empty(0)] * len(executor.outputs)

    def copy(self) -> None:
        """Copies all outputs of the last run."""
        for index, array in enumerate(self._arrays):
            view = self._executor.output_view(index)
            if array.shape != view.shape or array.dtype != view.dtype:
                # Some networks decide the size of an output while they run.
                self._arrays[index] = view.copy()
            else:
                _copy(array, view)

    def output_view(self, index: int) -> npt.NDArray[Any]:
        """An output, valid until these copies are given back."""
        return self._arrays[index]


class _Pool(Generic[T]):
    """Things that are used again. Taking makes a new one when none is there, so nobody ever waits."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._free: deque[T] = deque()  # Its append and pop are safe between threads.

    def take(self) -> T:
        try:
            return self._free.pop()
        except IndexError:
            return self._make()

    def give(self, item: T) -> None:
        self._free.append(item)
