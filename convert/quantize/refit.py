"""Weights for the inputs they will really get.

In int8 a convolution reads rounded numbers, and its own weights are rounded too. Layer by layer, in network order, this
finds the weights and the bias that bring the convolution of the *rounded* inputs closest to what the *float* network
computes there (least squares, held near the float weights by a ridge). That takes back what earlier layers did wrong,
filters rounding noise where neighbouring channels or pixels know better, and contains bias correction (Nagel et al.,
arXiv:1906.04721, section 4.2). The weights are then rounded with the same statistics in hand (``rounding``). Nothing of
it costs anything on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from convert.quantize.graph import float_layers, inputs_of, is_convolution, is_depthwise, outputs_of
from convert.quantize.layerwise import BATCH, Flow, in_batches
from convert.quantize.patches import Places, patches_at, places
from convert.quantize.relevance import resized
from convert.quantize.rounding import round_kernel, round_weights
from convert.quantize.support import solve_nonzero
from convert.quantize.tensors import Range, TensorPlan

Doubles = npt.NDArray[np.float64]

# Pull towards the float weights, as a share of the mean variance of the inputs.
_RIDGE = 1e-2
# Variances below this share of the mean square are taken for none.
_LEAST_VARIANCE = 1e-9
# Places looked at in all pictures together, at least this many times the unknowns of one output.
_PLACES, _PLACES_PER_INPUT = 60_000, 16
# Beyond this many inputs of one output a second moment takes too much memory and time: weights are only rounded.
_MAX_INPUTS = 2304
# The largest tensor of all pictures may take this much; fewer pictures are used where it would be more.
_MAX_BYTES = 384 << 20
_MAX_SAMPLES = 128
# Places of a depthwise convolution that are turned at once: they stay in the cache.
_BLOCK = 128
# Weight of a place where nothing is found; the mean over all places is 1 more.
_ANYWHERE = 0.3


def refit(
    model: keras.Model,
    plan: TensorPlan,
    ranges: Mapping[str, Range],
    samples: npt.NDArray[np.float32],
    progress: Callable[[int, int], None] | None = None,
    relevance: npt.NDArray[np.float32] | None = None,
    leave: frozenset[str] = frozenset(),
    seed: int = 0,
    keep_zeros: bool = False,
) -> None:
    """Replaces the weights of a network by fitted ones, rounded where they are to be int8, in place.

    Args:
        model: Without batch normalisation, each layer applied once.
        plan: Its int8 tensors.
        ranges: Their ranges, by scale group.
        samples: ``(n, height, width, 3)`` calibration inputs.
        progress: Called with (done, total) layers.
        relevance: ``(n, rows, columns)`` in 0..1, where in each picture the outputs matter; the convolutions that make
            the outputs are fitted to these places above all. The layers before see everything: weighing theirs too
            costs more elsewhere than it brings.
        leave: Points that stay float; the device keeps float weights for the convolutions that make or read them.
        seed: Of the places looked at.
        keep_zeros: Weights that are exactly zero stay so.
    """
    count = sample_count(model, len(samples))
    weights = None if relevance is None else spread_weights(relevance[:count])
    walk = _Walk(model, plan, ranges, samples[:count], weights, leave, np.random.default_rng(seed), keep_zeros)
    for index, layer in enumerate(model.layers):
        walk.visit(layer)
        if progress:
            progress(index + 1, len(model.layers))


def spread_weights(relevance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Weights of places from where things are found, ``(n, rows, columns)`` both."""
    return np.asarray(relevance / max(float(relevance.mean()), 1e-9) + _ANYWHERE, np.float32)


def sample_count(model: keras.Model, available: int) -> int:
    """How many pictures' tensors fit into memory side by side."""
    largest = max(int(np.prod(tensor.shape[1:])) for layer in model.layers for tensor in _results(layer))
    return min(available, _MAX_SAMPLES, max(BATCH, _MAX_BYTES // (4 * largest)))


def _results(layer: Any) -> list[Any]:
    return list(layer.output) if isinstance(layer.output, (list, tuple)) else [layer.output]


class _Walk:
    """The float and the rounded network, side by side."""

    def __init__(
        self,
        model: keras.Model,
        plan: TensorPlan,
        ranges: Mapping[str, Range],
        samples: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32] | None,
        leave: frozenset[str],
        random: np.random.Generator,
        keep_zeros: bool,
    ) -> None:
        self._plan, self._ranges, self._weights, self._random = plan, ranges, weights, random
        self._keep_zeros = keep_zeros
        self._ends = outputs_of(model)
        self._points = set(plan.inner) - leave
        self._float = float_layers(model, leave)
        batches = in_batches(samples)
        self._exact, self._rounded = Flow(model, batches), Flow(model, batches)

    def visit(self, layer: Any) -> None:
        """Runs one layer in both networks; fits it first where it is a convolution."""
        exact = self._exact.run(layer)
        if is_convolution(layer):
            (source,) = inputs_of(layer)
            weights = None
            if self._weights is not None and layer.name in self._ends:
                weights = resized(self._weights, tuple(exact[0].shape[1:3]))
            in_float = layer.name in self._float
            fit_convolution(layer, self._rounded[source], exact, weights, in_float, self._random, self._keep_zeros)
        rounded = self._rounded.run(layer)
        # The input too: pixels are exact in int8 only where 0 is the value of a whole pixel.
        if layer.name in self._points or isinstance(layer, keras.layers.InputLayer):
            self._rounded[layer.name] = self._round(layer.name, rounded)
        for flow in (self._exact, self._rounded):
            flow.forget(layer)

    def _round(self, point: str, batches: list[Any]) -> list[Any]:
        low, high = self._ranges[self._plan.group[point]]
        return [tf.quantization.fake_quant_with_min_max_args(each, low, high) for each in batches]


def fit_convolution(
    layer: Any,
    inputs: list[Any],
    wanted: list[Any],
    weights_at: npt.NDArray[np.float32] | None,
    in_float: bool,
    random: np.random.Generator,
    keep_zeros: bool = False,
) -> None:
    """Fits one convolution to outputs, in place, and rounds it unless it runs in float.

    Args:
        layer: With a bias, without activation.
        inputs: What it reads, in batches of pictures.
        wanted: What it should give, in the same batches.
        weights_at: ``(pictures, rows, columns)`` of its output, how much each place counts.
        in_float: Keep the weights as they come.
        random: Chooses the places that are looked at.
        keep_zeros: Weights that are exactly zero stay so.
    """
    kernel, _ = layer.get_weights()
    shape = kernel.shape
    depthwise = is_depthwise(layer)
    unknowns = int(np.prod(shape[:2])) if depthwise else int(np.prod(shape[:3]))
    if unknowns > _MAX_INPUTS or (shape[3] != 1 if depthwise else layer.groups != 1):
        if not in_float:
            _round_only(layer)
        return
    pictures = sum(int(each.shape[0]) for each in inputs)
    count = max(_PLACES, _PLACES_PER_INPUT * unknowns) // pictures + 1
    moments, picture = _Moments(depthwise), 0
    for batch, target in zip(inputs, wanted, strict=True):
        where = places(layer, batch.shape, count, random)
        here = None
        if weights_at is not None:
            here = _values_at(weights_at[picture : picture + len(batch), ..., None], where).ravel()
        picture += len(batch)
        moments.add(patches_at(batch.numpy(), where), _values_at(target.numpy(), where), here)
    weights = moments.by_output(kernel)
    covariance, cross = moments.centred()
    doubtful = moments.doubtful()
    covariance = covariance + doubtful[:, None, None] * np.eye(unknowns)
    # Inputs that never change, too, are pulled to their float weights: other pictures will change them.
    ridge = doubtful + _RIDGE * np.trace(covariance, axis1=1, axis2=2) / unknowns
    cross = cross + doubtful[:, None, None] * weights

    def solve(weights: Doubles, covariance: Doubles, cross: Doubles, ridge: Doubles) -> Doubles:
        damped = covariance + ridge[:, None, None] * np.eye(weights.shape[1])
        found = np.asarray(np.linalg.solve(damped, cross + ridge[:, None, None] * weights), np.float64)
        return found if in_float else round_weights(found, covariance)

    problem = (weights, covariance, cross, ridge)
    weights = solve_nonzero(solve, *problem) if keep_zeros else solve(*problem)
    bias = moments.mean_output - (moments.mean_input[:, None] @ weights)[:, 0]
    layer.set_weights([moments.as_kernel(weights, shape), bias.ravel().astype(np.float32)])


def _round_only(layer: Any) -> None:
    kernel, bias = layer.get_weights()
    layer.set_weights([round_kernel(kernel, is_depthwise(layer)), bias])


def _values_at(outputs: npt.NDArray[np.float32], where: Places) -> npt.NDArray[np.float32]:
    flat = outputs.reshape(len(outputs), -1, outputs.shape[-1])
    return np.take_along_axis(flat, where.index[..., None], axis=1).reshape(-1, outputs.shape[-1])


class _Moments:
    """First and second moments of a convolution's inputs and wanted outputs, as (groups, inputs, outputs).

    An ordinary convolution is one group; a depthwise one has a group of one output for each channel.
    """

    def __init__(self, depthwise: bool) -> None:
        self._depthwise = depthwise
        self._count = 0.0
        self._sums: list[Any] = [0.0] * 4

    def add(
        self,
        patches: npt.NDArray[np.float32],
        outputs: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Takes in ``(n, kernel height, kernel width, channels)`` patches, their ``(n, outputs)`` and their weights."""
        self._count += len(patches) if weights is None else float(weights.sum(dtype=np.float64))
        step = _BLOCK if self._depthwise else len(patches)
        terms = _depthwise_terms if self._depthwise else _terms
        for at in range(0, len(patches), step):
            block = slice(at, at + step)
            here = None if weights is None else weights[block].astype(np.float64)
            for index, term in enumerate(terms(patches[block], outputs[block], here)):
                self._sums[index] = self._sums[index] + term

    @property
    def mean_input(self) -> Doubles:
        """``(groups, inputs)``."""
        return np.asarray(self._sums[0] / self._count)

    @property
    def mean_output(self) -> Doubles:
        """``(groups, outputs)``."""
        return np.asarray(self._sums[1] / self._count)

    def centred(self) -> tuple[Doubles, Doubles]:
        """Covariance of the inputs, and of inputs with outputs."""
        x, y = self.mean_input, self.mean_output
        return (
            self._sums[2] / self._count - x[..., None] * x[:, None],
            self._sums[3] / self._count - x[..., None] * y[:, None],
        )

    def doubtful(self) -> Doubles:
        """``(groups,)``: a variance below this is that of sums of rounded numbers, and may be negative."""
        squares = np.trace(self._sums[2], axis1=1, axis2=2) / (self._count * self._sums[2].shape[1])
        return np.asarray(_LEAST_VARIANCE * squares + 1e-12)

    def by_output(self, kernel: npt.NDArray[np.float32]) -> Doubles:
        """A kernel as ``(groups, inputs, outputs)``."""
        if self._depthwise:
            return kernel.reshape(-1, kernel.shape[2]).T[..., None].astype(np.float64)
        return kernel.reshape(1, -1, kernel.shape[3]).astype(np.float64)

    def as_kernel(self, weights: Doubles, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The reverse of :meth:`by_output`."""
        turned = weights[..., 0].T if self._depthwise else weights[0]
        return turned.reshape(shape).astype(np.float32)


def _terms(
    patches: npt.NDArray[np.float32], outputs: npt.NDArray[np.float32], weights: Doubles | None
) -> tuple[Doubles, ...]:
    """Sums over some places: inputs, outputs, inputs by inputs, inputs by outputs."""
    x, y = patches.reshape(len(patches), -1).astype(np.float64), outputs.astype(np.float64)
    weighted_x, weighted_y = (x, y) if weights is None else (x * weights[:, None], y * weights[:, None])
    # A matrix by itself, turned, takes BLAS half as long as by another.
    return weighted_x.sum(0)[None], weighted_y.sum(0)[None], (weighted_x.T @ x)[None], (weighted_x.T @ y)[None]


def _depthwise_terms(
    patches: npt.NDArray[np.float32], outputs: npt.NDArray[np.float32], weights: Doubles | None
) -> tuple[Doubles, ...]:
    """The same for each channel."""
    # (channels, inputs, n) and (channels, n, 1). BLAS takes contiguous matrices only; NumPy's own way is slow.
    x = np.ascontiguousarray(patches.reshape(len(patches), -1, patches.shape[-1]).transpose(2, 1, 0), np.float64)
    y = np.ascontiguousarray(outputs.T, np.float64)[..., None]
    weighted_x, weighted_y = (x, y) if weights is None else (x * weights, y * weights[:, None])
    return weighted_x.sum(2), weighted_y.sum(1), weighted_x @ x.transpose(0, 2, 1), weighted_x @ y
