"""What quantisation-aware training starts from, and what comes out of it, in the converter's terms."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import numpy.typing as npt

from convert.progress import Progress
from convert.quantize.ptq import Options, Quantized, quantise, round_kernels
from convert.quantize.tensors import Range, TensorPlan
from convert.train.qat_network import copy_weights, get_ranges


def starting_point(
    model: keras.Model,
    input_range: Range,
    samples: npt.NDArray[np.float32],
    equalise: bool = True,
    per_tensor: bool = False,
    progress: Callable[[str], Callable[[int, int], None]] = Progress,
) -> Quantized:
    """Folded and equalised weights with ranges by squared error, weights rounded to nearest.

    Args:
        model: The float network with raw heads.
        input_range: What the input's pixels become, lowest and highest.
        samples: ``(n, height, width, 3)`` calibration inputs.
        equalise: Rescale channels.
        per_tensor: One scale for all weights of a layer.
        progress: Makes a progress display from a title.
    """
    start = quantise(model, input_range, samples, Options(equalise, "mse", refit=False), progress=progress)
    if per_tensor:
        start.model.set_weights(start.exact.get_weights())
        round_kernels(start.model, per_tensor=True)
    return start


def finished(network: keras.Model, exact: keras.Model, plan: TensorPlan, per_tensor: bool = False) -> Quantized:
    """A network that was trained with rounding, ready for conversion.

    Args:
        network: From :func:`convert.train.qat_network.qat_network`, trained.
        exact: The float network it was made of; it is not changed.
        plan: Its int8 tensors.
        per_tensor: Whether it was trained with one scale for all weights of a layer.

    Returns:
        ``exact`` holds the trained float weights, ``model`` the same rounded to nearest, as the training rounded them;
        ranges are those of the training. Nothing was observed.
    """
    trained, rounded = keras.models.clone_model(exact), keras.models.clone_model(exact)
    for copy in (trained, rounded):
        copy_weights(network, copy)
    round_kernels(rounded, per_tensor)
    return Quantized(trained, rounded, plan, get_ranges(network), {})
