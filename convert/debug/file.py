"""An int8 file from anywhere, taken apart through its float twin."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.debug.statistics import Next, Statistics, head_noise
from convert.debug.twin import Point, Twin
from convert.progress import Progress
from convert.quantize.fake_quant import round_to
from runtime.engine import Engine
from runtime.errors import InputError
from runtime.opening import default_threads

Floats = npt.NDArray[np.float32]

# Pictures on which each tensor is rounded alone, to rank them; tensors are many.
_ALONE = 2
_ROWS = 64


class File:
    """The network of an int8 file.

    Args:
        path: The ``.tflite``.
        names: Of its outputs.
        samples: ``(n, height, width, 3)`` float32 inputs to look at.

    Attributes:
        float_heads: What it computes with its own weights and nothing rounded.

    Raises:
        InputError: It has no 8-bit tensors, or cannot be run in float.
    """

    def __init__(self, path: Path, names: Sequence[str], samples: Floats) -> None:
        self._twin, self._names, self._samples, self._path = Twin(path.read_bytes()), names, samples, path
        self._points = self._twin.points
        if not self._points:
            raise InputError(f"{path} has no 8-bit tensors", "expected an int8 file", "give one, or a float network")
        self._all = [point.tensor for point in self._points]
        self.float_heads = self.run_float(samples)

    def run_float(self, samples: Floats) -> list[Floats]:
        """Outputs of the twin for any inputs."""
        return self._run(self._twin.build(), samples)

    def heads(self) -> list[Floats]:
        """Outputs with all points rounded; a computation in float, that follows the file closely."""
        return self.restored(())

    def restored(self, names: Collection[str]) -> list[Floats]:
        """The same with some points in float."""
        rounded = [point.tensor for point in self._points if point.name not in names]
        return self._run(self._twin.build(rounded), self._samples)

    def measure(self) -> list[Statistics]:
        """Looks at every tensor."""
        exact, rounded = (_Shown(self, self._twin.build(each, shown=True)) for each in ((), self._all))
        sums = [_Sums(point) for point in self._points]
        random, progress = np.random.default_rng(0), Progress("comparing tensors")
        for at in range(len(self._samples)):
            mine, wanted = rounded.values(self._samples[at]), exact.values(self._samples[at])
            for total, value, other in zip(sums, wanted, mine, strict=True):
                total.add(value, other, random)
            progress(at + 1, len(self._samples))
        noise = self._alone()
        return [
            total.statistics(noise[at], *self._neighbour(point))
            for at, (total, point) in enumerate(zip(sums, self._points, strict=True))
        ]

    def _alone(self) -> list[float]:
        """Noise in the outputs with one tensor rounded and all others float."""
        few, wanted = self._samples[:_ALONE], [head[:_ALONE] for head in self.float_heads]
        noise, progress = [], Progress("rounding one tensor at a time")
        for done, point in enumerate(self._points, start=1):
            noise.append(head_noise(self._run(self._twin.build([point.tensor]), few), wanted))
            progress(done, len(self._points))
        return noise

    def _neighbour(self, point: Point) -> tuple[str, Next]:
        """The point on the other side of a leaky ReLU, and what follows."""
        if point.maker == "LEAKY_RELU":
            return next((p.name for p in self._points if p.tensor == point.source), ""), "behind leaky"
        if point.readers == ("LEAKY_RELU",):
            return next((p.name for p in self._points if p.source == point.tensor), ""), "leaky"
        return "", "sigmoid" if "LOGISTIC" in point.readers else ""

    def _run(self, data: bytes, samples: Floats) -> list[Floats]:
        engine = self.engine(data)
        order = [next(at for at, spec in enumerate(engine.outputs) if spec.name == name) for name in self._names]
        results: list[list[npt.NDArray[Any]]] = [[] for _ in order]
        for sample in samples:
            engine.input_view()[...] = sample
            engine.invoke()
            for result, at in zip(results, order, strict=True):
                result.append(engine.output_view(at).copy())
        return [np.concatenate(each) for each in results]

    def engine(self, data: bytes) -> Engine:
        """An interpreter over a made file.

        Raises:
            InputError: The twin does not run: an op that has no float kernel.
        """
        with tempfile.TemporaryDirectory(prefix="edgewren-") as folder:
            path = Path(folder) / "twin.tflite"
            path.write_bytes(data)
            try:
                engine = Engine(path, default_threads())
            except InputError as error:
                raise InputError(
                    f"{self._path} cannot be run in float ({error.seen[:200]})",
                    "expected ops with float kernels",
                    "explain the float network instead: python -m convert debug FLOAT",
                ) from None
        if engine.inputs[0].dtype != np.float32:
            raise InputError(f"{self._path} has an input of {engine.inputs[0].dtype}", "expected 8 bits with a scale")
        return engine


class _Shown:
    """A twin that shows all its points."""

    def __init__(self, file: File, data: bytes) -> None:
        self._engine = file.engine(data)
        self._indices = file._all

    def values(self, sample: Floats) -> list[Floats]:
        self._engine.input_view()[...] = sample
        self._engine.invoke()
        return [self._engine.interpreter.get_tensor(index) for index in self._indices]


class _Sums:
    """One tensor, picture after picture."""

    def __init__(self, point: Point) -> None:
        self._point = point
        self._rows: list[Floats] = []
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._squares: list[npt.NDArray[np.float64]] = []

    def add(self, exact: Floats, rounded: Floats, random: np.random.Generator) -> None:
        channels = exact.shape[-1] if exact.ndim else 1
        wanted, mine = exact.reshape(-1, channels), rounded.reshape(-1, channels)
        low, high = self._point.range
        own = np.square(round_to(wanted, low, high) - wanted)
        step = (high - low) / 255
        outside = np.where((wanted > high + step) | (wanted < low - step), own, 0)
        self._rows.append(wanted[random.integers(0, len(wanted), _ROWS)])
        self._low.append(wanted.min(axis=0))
        self._high.append(wanted.max(axis=0))
        parts = np.square(wanted), np.square(mine - wanted), own, outside
        self._squares.append(np.stack([part.mean(axis=0, dtype=np.float64) for part in parts]))

    def statistics(self, noise: float, partner: str, activation: Next) -> Statistics:
        power, error, own, outside = np.mean(self._squares, axis=0)
        return Statistics(
            name=self._point.name,
            range=self._point.range,
            low=np.min(self._low, axis=0),
            high=np.max(self._high, axis=0),
            rows=np.concatenate(self._rows),
            power=power,
            error=error,
            own=own,
            clipped=float(outside.sum() / max(own.sum(), 1e-30)),
            noise=noise,
            partner=partner,
            activation=activation,
            fixed=self._point.maker in ("LOGISTIC", "SOFTMAX", "TANH"),
        )
