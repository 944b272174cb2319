"""Post-training quantisation: from a float network to one whose weights and ranges are chosen for int8.

In this order, each step with what the one before left: batch normalisation folded, channels equalised, a range searched
for each tensor, weights refitted and rounded. File size and speed are those of plain quantisation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from convert.forward import run_network
from convert.progress import Progress
from convert.quantize.equalise import equalise
from convert.quantize.fake_quant import fake_quantise
from convert.quantize.fold import fold_norms
from convert.quantize.graph import is_convolution, is_depthwise
from convert.quantize.observe import Observed, observe
from convert.quantize.ranges import RangeMethod, choose_ranges
from convert.quantize.refit import refit
from convert.quantize.rounding import round_kernel
from convert.quantize.split_leaky import split_leaky
from convert.quantize.supported import check_finite, check_supported
from convert.quantize.tensors import Range, TensorPlan, plan_tensors

Relevance = Callable[[Sequence[npt.NDArray[np.float32]]], npt.NDArray[np.float32]]

# Extremes settle well before this, and each picture is a pass forwards and two backwards.
_MAX_OBSERVED = 128


@dataclass(frozen=True)
class Options:
    """What post-training quantisation does; the default is all of it.

    Attributes:
        equalise: Rescale channels, and write narrow leaky ReLUs as two ReLUs.
        ranges: How ranges are chosen.
        refit: Fit weights and biases to the rounded inputs; otherwise weights are rounded to the nearest step.
        keep_zeros: Weights that are exactly zero stay so when weights are fitted, and the zeros of every four input
            channels stay in these four (``convert.prune.sparsity``). The other steps leave zeros alone in any case.
    """

    equalise: bool = True
    ranges: RangeMethod = "mse"
    refit: bool = True
    keep_zeros: bool = False

    def describe(self) -> str:
        """A line for the card."""
        steps = ["channels equalised"] * self.equalise + ["heads split by kind", f"{self.ranges} ranges"]
        steps += ["weights refitted" if self.refit else "weights rounded to nearest"]
        steps += ["zeros kept"] * self.keep_zeros
        return f"int8 post-training: {', '.join(steps)}, per-channel weights"


DEFAULT = Options()
PLAIN = Options(equalise=False, ranges="min-max", refit=False)


@dataclass(frozen=True)
class Quantized:
    """A network ready for conversion.

    Attributes:
        exact: The float network with folded normalisation and equalised channels; computes what the source computes.
        model: The same with the weights the device will hold, on their int8 steps.
        plan: The int8 tensors.
        ranges: A range for each scale group, the input's too.
        seen: What was observed in ``exact`` at each point but the input.
        relevance: Where the outputs matter in each calibration picture, where that was asked for.
        leave: Points that stay float.
        keep_zeros: Weights that are exactly zero in ``exact`` stay so when weights are fitted again.
    """

    exact: keras.Model
    model: keras.Model
    plan: TensorPlan
    ranges: Mapping[str, Range]
    seen: Mapping[str, Observed]
    relevance: npt.NDArray[np.float32] | None = None
    leave: frozenset[str] = frozenset()
    keep_zeros: bool = False

    def simulation(self, switch: bool = False, leave: frozenset[str] = frozenset()) -> keras.Model:
        """The int8 network in float arithmetic; see :func:`~convert.quantize.fake_quant.fake_quantise`."""
        return fake_quantise(self.model, self.plan, self.ranges, switch, self.leave | leave)


def quantise(
    model: keras.Model,
    input_range: Range,
    samples: npt.NDArray[np.float32],
    options: Options = DEFAULT,
    relevance: Relevance | None = None,
    progress: Callable[[str], Callable[[int, int], None]] = Progress,
) -> Quantized:
    """Chooses weights and ranges for int8.

    Args:
        model: A functional or sequential Keras model with raw heads; it is not changed.
        input_range: What the input's pixels become, lowest and highest.
        samples: ``(n, height, width, 3)`` calibration inputs.
        options: What is done.
        relevance: From the float network's outputs, one array ``(n, rows, columns, channels)`` each, to where in each
            picture they matter, ``(n, rows, columns)`` in 0..1; see ``convert.quantize.relevance``.
        progress: Makes a progress display from a title.

    Raises:
        InputError: A network that cannot be quantised; the message names the layer.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs)
    check_supported(model, samples)
    exact = fold_norms(model)
    if options.equalise:
        exact = split_leaky(exact, 4 if options.keep_zeros else 1)
    plan = plan_tensors(exact)
    seen = observe(exact, plan.inner, samples[:_MAX_OBSERVED], progress("observing"))
    check_finite(seen)
    if options.equalise:
        seen = equalise(exact, plan, seen)
    ranges = choose_ranges(exact, plan, seen, options.ranges)
    ranges[plan.group[plan.points[0]]] = input_range
    where = relevance(run_network(exact, samples)) if relevance and options.refit else None
    rounded = _copy(exact)
    if options.refit:
        show = progress("refitting weights")
        refit(rounded, plan, ranges, samples, show, where, keep_zeros=options.keep_zeros)
    else:
        round_kernels(rounded)
    return Quantized(exact, rounded, plan, ranges, seen, where, keep_zeros=options.keep_zeros)


def leave_float(quantized: Quantized, points: frozenset[str], samples: npt.NDArray[np.float32]) -> Quantized:
    """The same network with some tensors in float, its weights fitted to that.

    Args:
        quantized: The network; it is not changed.
        points: What stays float.
        samples: As for :func:`quantise`.
    """
    model, ranges = _copy(quantized.exact), quantized.ranges
    show, zeros = Progress("refitting weights"), quantized.keep_zeros
    refit(model, quantized.plan, ranges, samples, show, quantized.relevance, points, keep_zeros=zeros)
    return dataclasses.replace(quantized, model=model, leave=points)


def _copy(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def round_kernels(model: keras.Model, per_tensor: bool = False) -> None:
    """Rounds the weights of all convolutions to the nearest int8 step, in place.

    Args:
        model: The network.
        per_tensor: One scale for all weights of a layer instead of one per output channel.
    """
    for layer in model.layers:
        if is_convolution(layer):
            kernel, *bias = layer.get_weights()
            layer.set_weights([round_kernel(kernel, is_depthwise(layer), per_tensor), *bias])
