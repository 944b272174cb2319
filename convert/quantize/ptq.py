"""Post-training quantisation: from a float network to one whose weights and ranges are chosen for int8.

In this order, each step with what the one before left: batch normalisation folded, channels equalised, a range searched
for each tensor, weights refitted and rounded. File size and speed are those of plain quantisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from convert.progress import Progress
from convert.quantize.equalise import equalise
from convert.quantize.fake_quant import fake_quantise
from convert.quantize.fold import fold_norms
from convert.quantize.graph import is_convolution, is_depthwise
from convert.quantize.observe import Observed, observe
from convert.quantize.ranges import RangeMethod, choose_ranges
from convert.quantize.refit import refit
from convert.quantize.rounding import round_nearest
from convert.quantize.tensors import Range, TensorPlan, plan_tensors

# Extremes settle well before this, and each picture is a pass forwards and two backwards.
_MAX_OBSERVED = 128


@dataclass(frozen=True)
class Options:
    """What post-training quantisation does; the default is all of it.

    Attributes:
        equalise: Rescale channels.
        ranges: How ranges are chosen.
        refit: Fit weights and biases to the rounded inputs; otherwise weights are rounded to the nearest step.
    """

    equalise: bool = True
    ranges: RangeMethod = "mse"
    refit: bool = True

    def describe(self) -> str:
        """A line for the card."""
        steps = ["channels equalised"] * self.equalise + ["heads split by kind", f"{self.ranges} ranges"]
        steps += ["weights refitted" if self.refit else "weights rounded to nearest"]
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
    """

    exact: keras.Model
    model: keras.Model
    plan: TensorPlan
    ranges: Mapping[str, Range]
    seen: Mapping[str, Observed]

    def simulation(self, switch: bool = False, leave: frozenset[str] = frozenset()) -> keras.Model:
        """The int8 network in float arithmetic; see :func:`~convert.quantize.fake_quant.fake_quantise`."""
        return fake_quantise(self.model, self.plan, self.ranges, switch, leave)


def quantise(
    model: keras.Model,
    input_range: Range,
    samples: npt.NDArray[np.float32],
    options: Options = DEFAULT,
    progress: Callable[[str], Callable[[int, int], None]] = Progress,
) -> Quantized:
    """Chooses weights and ranges for int8.

    Args:
        model: A functional Keras model with raw heads; it is not changed.
        input_range: What the input's pixels become, lowest and highest.
        samples: ``(n, height, width, 3)`` calibration inputs.
        options: What is done.
        progress: Makes a progress display from a title.
    """
    exact = fold_norms(model)
    plan = plan_tensors(exact)
    seen = observe(exact, plan.inner, samples[:_MAX_OBSERVED], progress("observing"))
    if options.equalise:
        seen = equalise(exact, plan, seen)
    ranges = choose_ranges(exact, plan, seen, options.ranges)
    ranges[plan.group[plan.points[0]]] = input_range
    rounded = keras.models.clone_model(exact)
    rounded.set_weights(exact.get_weights())
    if options.refit:
        refit(rounded, plan, ranges, samples, progress("refitting weights"))
    else:
        round_kernels(rounded)
    return Quantized(exact, rounded, plan, ranges, seen)


def round_kernels(model: keras.Model, per_tensor: bool = False) -> None:
    """Rounds the weights of all convolutions to the nearest int8 step, in place.

    Args:
        model: The network.
        per_tensor: One scale for all weights of a layer instead of one per output channel.
    """
    for layer in model.layers:
        if is_convolution(layer):
            kernel, *bias = layer.get_weights()
            outputs = kernel.shape[2] * kernel.shape[3] if is_depthwise(layer) else kernel.shape[3]
            rounded = round_nearest(kernel.reshape(-1, 1 if per_tensor else outputs).astype(np.float64))
            layer.set_weights([rounded.reshape(kernel.shape).astype(np.float32), *bias])
