"""Weights that are zero: unstructured, and two of every four, as sparse tensor cores read them.

Nothing leaves the network here; the smallest weights become zero where they are. What that buys: the file shrinks
when it is *compressed* (zip, gzip, a release archive). What it does not buy: bytes of the ``.tflite`` itself, which
stores zeros like any other number, and milliseconds, since the int8 kernels of the boards multiply by zero as by
anything else (``docs/sparsity.md`` has the figures). Whoever wants milliseconds takes channels out
(``convert.prune.surgery``).

Two of four is the pattern of NVIDIA's sparse tensor cores (Mishra et al., arXiv:2104.08378): of four neighbouring
weights along the input channels, two are zero at every place of the kernel and for every output channel.

Some layers stay dense, because there is little to win and much to lose:

- depthwise kernels: few weights of the network, and each channel has only a kernel's worth of them;
- the layers that make the outputs: every error in them is one in what is found, and nothing behind makes it good;
- the convolutions that read the picture: three channels are no group of four, and all features come from them;
- biases, and whatever is no plain convolution or dense layer (transposed, separable).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras
import numpy as np
import numpy.typing as npt

from convert.prune.graph import Keep, nodes, unpacked
from convert.prune.plan import Scope
from convert.prune.rules import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from convert.quantize.fold import folded
from convert.train.qat_network import copy_weights
from runtime.errors import InputError

Pattern = Literal["unstructured", "2:4"]

# Neighbours along the input channels, and how many of them may be other than zero.
_GROUP, _KEPT = 4, 2
# Layers that may be sparse, and all that have a kernel.
SPARSE = (*CONVOLUTIONS, keras.layers.Dense)
WITH_KERNEL = (*SPARSE, *DEPTHWISE, *TRANSPOSED, *SEPARABLE)


def sparsify(model: keras.Model, pattern: Pattern, share: float | None = None, scope: Scope = "layer") -> keras.Model:
    """A network with its smallest weights zero; the layers named in the module's text stay as they are.

    Weights are compared by their magnitude on the device, with the batch normalisation behind them folded in. A layer
    that is applied in several places, with a normalisation for each, is judged without.

    Args:
        model: A functional or sequential Keras model; it is not changed. Models inside it are unpacked.
        pattern: ``"unstructured"`` or ``"2:4"``. With 2:4, input channels beyond the last whole four count as a four
            filled up with zeros: of three the largest two stay, and one or two stay as they are.
        share: Of the weights in layers that may be sparse, how many become zero, in 0..1 without either end; rounded
            to whole weights. For 2:4 it is ``None`` or 0.5.
        scope: ``"layer"`` gives each layer the share; ``"global"`` gives it to the network and compares weights across
            layers, each with the weights of its layer that are no smaller (:func:`layer_adaptive`), which costs far
            less accuracy. It means nothing for 2:4.

    Returns:
        A functional model of the same names, shapes and number of weights.

    Raises:
        InputError: A share, pattern or scope that does not exist, a sub-classed model, or one in which every layer
            stays dense.
    """
    _check(pattern, share, scope)
    flat = unpacked(model)
    copy = keras.models.clone_model(flat)
    copy_weights(flat, copy)
    reasons = dense_layers(copy)
    sparse = [layer for layer in copy.layers if isinstance(layer, SPARSE) and layer.name not in reasons]
    if not sparse:
        why = "; ".join(f"{name} {reason}" for name, reason in reasons.items()) or "no layer has a kernel"
        raise InputError(f"{model.name} has nothing to make sparse ({why})", "expected a convolution inside it")
    links = _links(copy)
    sizes = [np.abs(_on_device(layer, links)) for layer in sparse]
    for layer, keep in zip(sparse, _kept(sizes, pattern, share, scope), strict=True):
        kernel, *bias = layer.get_weights()
        layer.set_weights([np.where(keep, kernel, 0), *bias])
    return copy


def _check(pattern: str, share: float | None, scope: str) -> None:
    for value, known, name in ((pattern, get_args(Pattern), "pattern"), (scope, get_args(Scope), "scope")):
        if value not in known:
            raise InputError(f"{name} '{value}'", f"expected {' or '.join(known)}")
    if pattern == "2:4" and share not in (None, 0.5):
        raise InputError(f"share {share:g} with 2:4", "expected none: two of four are half", "take unstructured")
    if pattern == "unstructured" and (share is None or not 0 < share < 1):
        given = "no share" if share is None else f"share {share:g}"
        raise InputError(f"{given} of zero weights", "expected a number between 0 and 1", "say 0.5 for half")


def _kept(sizes: list[npt.NDArray[Any]], pattern: Pattern, share: float | None, scope: Scope) -> list[Keep]:
    """Which weights stay, given their magnitudes by layer."""
    if pattern == "2:4":
        return [_two_of_four(size) for size in sizes]
    assert share is not None
    if scope == "layer":
        return [_largest(size.ravel(), share).reshape(size.shape) for size in sizes]
    together = _largest(np.concatenate([layer_adaptive(size).ravel() for size in sizes]), share)
    parts = np.split(together, np.cumsum([size.size for size in sizes])[:-1])
    return [part.reshape(size.shape) for part, size in zip(parts, sizes, strict=True)]


def layer_adaptive(sizes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Scores that can be compared across layers (LAMP; Lee et al., arXiv:2010.07611).

    Magnitudes themselves cannot: a layer of small weights would lose all of them, and with them every way through it.

    Args:
        sizes: Magnitudes of a layer's weights, any shape.

    Returns:
        Each weight's square as a share of the squares of all that are no smaller, 0..1; 1 for the largest of a layer.
        Of equal weights the first counts as the smaller one.
    """
    flat = np.asarray(sizes, np.float64).ravel()
    order = np.argsort(flat, kind="stable")
    squares = flat[order] ** 2
    left = np.cumsum(squares[::-1])[::-1]
    scores = np.empty_like(flat)
    scores[order] = np.divide(squares, left, out=np.zeros_like(squares), where=left > 0)
    return scores.reshape(sizes.shape)


def _largest(sizes: npt.NDArray[Any], share: float) -> Keep:
    """All but the share of smallest ones; at least one. Of equal ones the first go."""
    keep = np.ones(len(sizes), np.bool_)
    gone = min(round(share * len(sizes)), len(sizes) - 1)
    keep[np.argsort(sizes, kind="stable")[:gone]] = False
    return keep


def _two_of_four(sizes: npt.NDArray[Any]) -> Keep:
    """The larger two of every four along the second last axis; of equal ones the first stay."""
    *places, inputs, outputs = sizes.shape
    # What fills the last four up is smaller than any magnitude, and never stays.
    padding = [(0, 0)] * len(places) + [(0, -inputs % _GROUP), (0, 0)]
    groups = np.pad(sizes, padding, constant_values=-1).reshape(*places, -1, _GROUP, outputs)
    order = np.argsort(-groups, axis=-2, kind="stable")
    keep = np.zeros(groups.shape, np.bool_)
    np.put_along_axis(keep, order[..., :_KEPT, :], True, axis=-2)
    return keep.reshape(*places, -1, outputs)[..., :inputs, :]


@dataclass(frozen=True)
class _Links:
    """How layers are connected, by layer name; a layer that is applied several times has the links of all places."""

    before: Mapping[str, list[Any]]
    behind: Mapping[str, list[Any]]


def _links(model: keras.Model) -> _Links:
    # Not by the layers' own nodes: those belong to all models that a layer is part of.
    before: dict[str, list[Any]] = {layer.name: [] for layer in model.operations}
    behind: dict[str, list[Any]] = {layer.name: [] for layer in model.operations}
    for node in nodes(model):
        for tensor in () if node.is_input else node.input_tensors:
            source = tensor._keras_history.operation
            before[node.operation.name].append(source)
            behind[source.name].append(node.operation)
    return _Links(before, behind)


def dense_layers(model: keras.Model) -> dict[str, str]:
    """Why layers of a functional model stay dense, by name; those that may be sparse are not in it."""
    links = _links(model)
    ends = _nearest([tensor._keras_history.operation for tensor in model.outputs], links.before)
    first = _nearest([tensor._keras_history.operation for tensor in model.inputs], links.behind)
    reasons = {}
    for layer in model.layers:
        if not isinstance(layer, WITH_KERNEL):
            continue
        if isinstance(layer, DEPTHWISE):
            reasons[layer.name] = "is depthwise"
        elif not isinstance(layer, SPARSE):
            reasons[layer.name] = f"is a {type(layer).__name__}"
        elif layer.name in ends:
            reasons[layer.name] = "makes an output of the network"
        elif layer.name in first and not isinstance(layer, keras.layers.Dense):
            reasons[layer.name] = "reads the network's input"
    return reasons


def _nearest(start: list[Any], links: Mapping[str, list[Any]]) -> set[str]:
    """Names of the first layers with a kernel on every way; activations, sums and the like are passed."""
    found, waiting, seen = set(), list(start), set()
    while waiting:
        layer = waiting.pop()
        if layer.name in seen:
            continue
        seen.add(layer.name)
        if isinstance(layer, WITH_KERNEL):
            found.add(layer.name)
        else:
            waiting.extend(links[layer.name])
    return found


def _on_device(layer: Any, links: _Links) -> npt.NDArray[Any]:
    """The kernel with the batch normalisation behind it folded in, where that is what the device will hold."""
    kernel: npt.NDArray[Any] = layer.get_weights()[0]
    readers = links.behind[layer.name]
    if len(readers) != 1 or len(links.before[layer.name]) != 1 or layer.activation is not keras.activations.linear:
        return kernel
    norm = readers[0]
    fits = isinstance(norm, keras.layers.BatchNormalization) and norm.axis in (-1, kernel.ndim - 1)
    return folded(layer, norm)[0] if fits and len(links.before[norm.name]) == 1 else kernel
