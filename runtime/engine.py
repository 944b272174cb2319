"""An interpreter with its tensors bound by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from runtime import amx
from runtime.errors import InputError, RunError
from runtime.modelfile import check_model_file
from runtime.provider import provider, quiet_native_log
from runtime.tuning import MOST_THREADS
from runtime.values import value

if TYPE_CHECKING:
    from runtime.delegates import DelegateUse

_MAX_TENSOR_BYTES = 1 << 30


@value
class TensorSpec:
    """An input or output tensor.

    Attributes:
        name: Name in the file.
        shape: All dimensions, batch included.
        dtype: For example int8 or float32.
        scale, zero_point: ``real = (stored - zero_point) * scale``; scale is 0.0 for a tensor that is not quantised.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 0.0
    zero_point: int = 0

    @property
    def quantized(self) -> bool:
        """Whether stored numbers are integers with a scale."""
        return self.scale != 0.0


class Outputs(Protocol):
    """What a network answered."""

    def output_view(self, index: int) -> npt.NDArray[Any]:
        """The memory of an output tensor, valid until the next :meth:`Executor.invoke`. Drop it before that."""


class Executor(Outputs, Protocol):
    """What a detector needs of a network, be it a ``.tflite`` file or a float model on the workstation."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input_view(self, index: int = 0) -> npt.NDArray[Any]:
        """The memory of an input tensor. Drop it before :meth:`invoke`."""

    def invoke(self) -> None:
        """Runs the network once."""


class Engine:
    """A ``.tflite`` file in an interpreter with XNNPACK.

    Args:
        path: The model file.
        threads: Worker threads of the interpreter, 1..1024.
        delegate: An external delegate, ``LIBRARY`` or ``LIBRARY:KEY=VALUE,..``, that is asked before XNNPACK.

    Attributes:
        inputs, outputs: Tensors in the interpreter's order. Find them by name; the order changes between converters.
        delegate: What became of the external delegate; ``None`` where none was asked for.

    Raises:
        InputError: The file is not a model, or one the interpreter refuses; ``delegate`` is badly written.
    """

    def __init__(self, path: Path, threads: int = 1, delegate: str | None = None) -> None:
        if not 1 <= threads <= MOST_THREADS:
            raise InputError(f"threads is {threads}", f"expected 1..{MOST_THREADS}", "give --threads N")
        self.path = check_model_file(path)
        self.threads = threads
        self.delegate: DelegateUse | None = None
        with quiet_native_log() as log, amx.only_if_it_suits(self.path):
            try:
                self.interpreter = self._allocated(delegate)
                # A damaged name is found out when it is read.
                self._inputs = self.interpreter.get_input_details()
                self._outputs = self.interpreter.get_output_details()
            except (ValueError, RuntimeError, MemoryError, SystemError, TypeError) as error:
                raise self._refusal(error, log) from None
        self.inputs = tuple(_spec(detail) for detail in self._inputs)
        self.outputs = tuple(_spec(detail) for detail in self._outputs)
        # Functions that give a tensor's memory; they, unlike the memory, may be kept while the network runs.
        self._input_views = [self.interpreter.tensor(detail["index"]) for detail in self._inputs]
        self._output_views = [self.interpreter.tensor(detail["index"]) for detail in self._outputs]

    def _allocated(self, delegate: str | None) -> Any:
        """An interpreter that is ready to run."""
        if delegate is not None:
            from runtime.delegates import delegated

            interpreter, self.delegate = delegated(delegate, self._interpreter)
            if interpreter is not None:
                return interpreter
        interpreter = self._interpreter()
        interpreter.allocate_tensors()
        return interpreter

    def _interpreter(self, **more: Any) -> Any:
        """An interpreter that has no memory for its tensors yet; they are of sensible sizes."""
        interpreter = provider().interpreter(model_path=str(self.path), num_threads=self.threads, **more)
        _check_sizes(interpreter, self.path)
        return interpreter

    def _refusal(self, error: Exception, log: list[str]) -> InputError:
        text = " ".join(str(error).split()) or "; ".join(log)
        if self.delegate:
            # A model that was compiled for a device runs nowhere else.
            text = f"{text[:80]}; delegate {self.delegate.name}: {self.delegate.reason}"
        return InputError(
            f"{self.path} is refused by {self.provider} ({text[:200]})",
            "expected a complete .tflite model",
            "copy the file again, or rebuild it",
        )

    @property
    def provider(self) -> str:
        """Name and version of the interpreter."""
        return str(provider())

    def input_view(self, index: int = 0) -> npt.NDArray[Any]:
        """The memory of an input tensor. Drop it before :meth:`invoke`."""
        view: npt.NDArray[Any] = self._input_views[index]()
        return view

    def invoke(self) -> None:
        """Runs the network once on what the input tensors hold.

        Raises:
            RunError: An op failed, such as one that is asked for numbers it does not have.
        """
        try:
            self.interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            if "reference to internal data" in str(error):
                raise RunError(
                    f"{self.path} is used by two threads, or a view of its tensors is kept",
                    "expected one thread at a time, and no views while it runs",
                    "open it once for each thread",
                ) from None
            raise RunError(
                f"{self.path} failed in {self.provider} ({' '.join(str(error).split())[:200]})",
                "expected a model whose ops run on any picture",
                "copy the file again, or export it anew",
            ) from None

    def output_view(self, index: int) -> npt.NDArray[Any]:
        """The memory of an output tensor, valid until the next :meth:`invoke`. Drop it before that."""
        view: npt.NDArray[Any] = self._output_views[index]()
        return view


def _check_sizes(interpreter: Any, path: Path) -> None:
    """Adds up what the tensors would take before anything is allocated; a damaged shape can ask for terabytes."""
    for detail in interpreter.get_tensor_details():
        count = math.prod(int(size) for size in detail["shape"]) if len(detail["shape"]) else 1
        if count * np.dtype(detail["dtype"]).itemsize > _MAX_TENSOR_BYTES or min(detail["shape"], default=1) < 0:
            raise InputError(
                f"{path} has a tensor '{detail['name']}' of shape {tuple(map(int, detail['shape']))}",
                "expected at most 1 GiB per tensor",
                "rebuild the model",
            )


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(size) for size in detail["shape"])
    return TensorSpec(detail["name"], shape, np.dtype(detail["dtype"]), float(scale), int(zero_point))
