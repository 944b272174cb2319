"""The profiler inside ai-edge-litert's ``libLiteRt.so``, called through ``ctypes``.

Python's interpreter has no way to ask for times per op; the C library beside it has, down to the ops XNNPACK made. The
calls and structures are those of ``litert/c`` in https://github.com/google-ai-edge/LiteRT. They are not documented and
may change with every version, so only versions they were tried with are called, and only in a child process
(:mod:`runtime.profile.child`): a wrong guess here ends the process, not an exception.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from ctypes import c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_DISTRIBUTION, _LIBRARY = "ai-edge-litert", "libLiteRt.so"
_TRIED_VERSIONS = ("2.3.0",)
_CPU, _HOST_MEMORY, _WRITE = 1, 1, 1
# Kinds of events: an op of the file, and one of a delegate that reports its ops one by one.
_OPERATOR, _DELEGATE_OPERATOR = 1 << 1, 1 << 3
# An output's last rows may be written in whole registers; the library only asks that there is room enough.
_SPARE_BYTES = 64


class ProfilerError(Exception):
    """There is no profiler here that can be used; the text says why, for a user."""


@dataclass(frozen=True)
class Sample:
    """One timed op of one run.

    Attributes:
        xnnpack: Whether it is one of XNNPACK's own ops, else an op of the file.
        name: ``CONV_2D`` of the file, ``Convolution (NHWC, QC8) IGEMM`` of XNNPACK.
        index: Position in the graph, or of XNNPACK's ops in their partition.
        microseconds: XNNPACK's are cut to whole ones, those of the file are rounded either way.
    """

    xnnpack: bool
    name: str
    index: int
    microseconds: int


class _Layout(ctypes.Structure):
    # The lowest seven bits of the first number are the rank.
    _fields_ = (("rank", c_uint32), ("dimensions", c_int32 * 8), ("strides", c_uint32 * 8))


class _TensorType(ctypes.Structure):
    _fields_ = (("element", c_int), ("layout", _Layout))


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", c_char_p),
        ("kind", c_int),
        ("start", c_uint64),
        ("microseconds", c_uint64),
        ("memory_before", c_uint8 * 24),
        ("memory_after", c_uint8 * 24),
        ("index", c_int64),
        ("subgraph", c_int64),
        ("source", c_int),
    )


def find_library() -> Path:
    """The library with the profiler.

    Raises:
        ProfilerError: Not installed, or of a version the calls were not tried with.
    """
    known = f"known for {_DISTRIBUTION} {' and '.join(_TRIED_VERSIONS)}"
    try:
        version = importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise ProfilerError(f"times per op are {known}, which is not installed") from None
    if version not in _TRIED_VERSIONS:
        raise ProfilerError(f"times per op are {known}, {version} is installed")
    package = importlib.util.find_spec(_DISTRIBUTION.replace("-", "_"))
    folders = [Path(folder) for folder in (package.submodule_search_locations or [])] if package else []
    for folder in folders:
        if (folder / _LIBRARY).is_file():
            return folder / _LIBRARY
    raise ProfilerError(f"times per op are {known}, whose {_LIBRARY} is missing")


class NativeProfiler:
    """A model compiled with profiling, to be run many times.

    Args:
        library: What :func:`find_library` returned.
        model: A ``.tflite`` file.
        threads: Worker threads.
        inputs: What the input tensors hold, by tensor index.
        outputs: Shapes of the output tensors, by tensor index; as they are after a run, for some are not known before.

    Raises:
        ProfilerError: The library lacks a function, or a call failed.
    """

    def __init__(
        self,
        library: Path,
        model: Path,
        threads: int,
        inputs: dict[int, npt.NDArray[Any]],
        outputs: dict[int, tuple[tuple[int, ...], np.dtype[Any]]],
    ) -> None:
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise ProfilerError(f"{library.name} cannot be loaded ({error})") from None
        # What the library only points to must live as long as it does.
        self._kept: list[Any] = []
        self._environment, self._model = c_void_p(), c_void_p()
        self._call("LiteRtCreateEnvironment", c_int(0), None, ctypes.byref(self._environment))
        name = str(model).encode()
        self._call("LiteRtCreateModelFromFile", self._environment, name, ctypes.byref(self._model))
        self._compiled, self._profiler = self._compile(threads), c_void_p()
        self._call("LiteRtCompiledModelGetProfiler", self._compiled, ctypes.byref(self._profiler))
        if not self._profiler:
            raise ProfilerError("the profiler is not switched on by the option this version is known to have")
        self._inputs = self._buffers("Input", {index: (array.shape, array.dtype) for index, array in inputs.items()})
        for buffer, index in self._inputs:
            self._fill(buffer, inputs[index])
        self._outputs = self._buffers("Output", outputs)
        self._arrays = tuple(
            (c_size_t(len(pairs)), (c_void_p * len(pairs))(*(buffer for buffer, _ in pairs)))
            for pairs in (self._inputs, self._outputs)
        )

    def run(self) -> None:
        """Runs the model once."""
        (ins, in_buffers), (outs, out_buffers) = self._arrays
        self._call("LiteRtRunCompiledModel", self._compiled, c_size_t(0), ins, in_buffers, outs, out_buffers)

    def start(self) -> None:
        """Forgets what was seen and looks from now on."""
        self._call("LiteRtStartProfiler", self._profiler)

    def stop(self) -> list[Sample]:
        """Ends looking; returns the ops seen since :meth:`start`, in order of execution."""
        self._call("LiteRtStopProfiler", self._profiler)
        count = c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        if count.value < 1:
            return []
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return [
            Sample(
                event.kind == _DELEGATE_OPERATOR, event.tag.decode("utf-8", "replace"), event.index, event.microseconds
            )
            for event in events
            if event.kind == _DELEGATE_OPERATOR or (event.kind == _OPERATOR and event.subgraph == 0)
        ]

    def _compile(self, threads: int) -> c_void_p:
        options, compiled = c_void_p(), c_void_p()
        self._call("LiteRtCreateOptions", ctypes.byref(options))
        self._call("LiteRtSetOptionsHardwareAccelerators", options, c_int(_CPU))
        self._add(options, "runtime_options_string", "enable_profiling = true\n")
        self._add(options, "xnnpack", f"num_threads = {threads}\n")
        self._call("LiteRtCreateCompiledModel", self._environment, self._model, options, ctypes.byref(compiled))
        return compiled

    def _add(self, options: c_void_p, name: str, toml: str) -> None:
        payload, opaque = ctypes.create_string_buffer(toml.encode()), c_void_p()
        release = ctypes.CFUNCTYPE(None, c_void_p)(lambda _: None)
        self._kept += [payload, release]
        address = ctypes.cast(payload, c_void_p)
        self._call("LiteRtCreateOpaqueOptions", name.encode(), address, release, ctypes.byref(opaque))
        self._call("LiteRtAddOpaqueOptions", options, opaque)

    def _buffers(
        self, role: str, wanted: dict[int, tuple[tuple[int, ...], np.dtype[Any]]]
    ) -> list[tuple[c_void_p, int]]:
        """One buffer for each input or output in the signature's order, with the tensor's index."""
        signature, count = c_void_p(), c_size_t()
        self._call("LiteRtGetModelSignature", self._model, c_size_t(0), ctypes.byref(signature))
        self._call(f"LiteRtGetNumSignature{role}s", signature, ctypes.byref(count))
        pairs = []
        for position in range(count.value):
            tensor, index, buffer, kind = c_void_p(), c_uint32(), c_void_p(), _TensorType()
            number = c_size_t(position)
            self._call(f"LiteRtGetSignature{role}TensorByIndex", signature, number, ctypes.byref(tensor))
            self._call("LiteRtGetTensorIndex", tensor, ctypes.byref(index))
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            if index.value not in wanted:
                raise ProfilerError(f"{role.lower()} tensor {index.value} is none of the interpreter's")
            shape, dtype = wanted[index.value]
            kind.layout = _layout(shape)
            size = c_size_t(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize + _SPARE_BYTES)
            place = ctypes.byref(buffer)
            self._call(
                "LiteRtCreateManagedTensorBuffer",
                self._environment,
                c_int(_HOST_MEMORY),
                ctypes.byref(kind),
                size,
                place,
            )
            pairs.append((buffer, index.value))
        return pairs

    def _fill(self, buffer: c_void_p, values: npt.NDArray[Any]) -> None:
        address = c_void_p()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), c_int(_WRITE))
        content = np.ascontiguousarray(values)
        ctypes.memmove(address, content.ctypes.data, content.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise ProfilerError(f"the library has no {name}") from None
        function.restype = c_int
        with contextlib.suppress(ctypes.ArgumentError):
            status = function(*arguments)
            if status:
                raise ProfilerError(f"{name} failed with status {status}")
            return
        raise ProfilerError(f"{name} takes other arguments")


def _layout(shape: Sequence[int]) -> _Layout:
    if len(shape) > 8:
        raise ProfilerError(f"a tensor has {len(shape)} dimensions, more than 8")
    return _Layout(len(shape), (c_int32 * 8)(*shape))
