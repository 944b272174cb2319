"""What channels cost in time, from the measured milliseconds of each layer.

Multiply-accumulates tell little about time: a 1x1 convolution over few channels spends it on rounding and writing its
outputs, a depthwise one on a kernel that is four times slower per product. So the work of a network is weighed with
what its layers were seen to take: each convolution's time is a part that goes with its products and a part that goes
with the numbers it writes, both fitted over all layers, then stretched to the layer's own milliseconds.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from convert.prune.rules import DEPTHWISE, MAKERS
from convert.prune.work import Term, Work
from convert.quantize.heads import SplitModel

# Below this a layer's time is the clock's noise.
_LEAST_MS = 1e-3
# A layer may be this much slower or faster than the fit.
_STRETCH = 8.0


def by_layer(by_tensor: Mapping[str, float], split: SplitModel, model: keras.Model) -> dict[str, float]:
    """Milliseconds of each layer.

    Args:
        by_tensor: Milliseconds by the name of the tensor an op of the converted network writes. The converter keeps
            the names of the layers an op stands for, ``model/relu_3_1/Relu;model/conv_3_1/BiasAdd``, with a number
            behind those that came twice.
        split: The network that was converted.
        model: The network with its heads whole.

    Returns:
        Layer names of ``model`` to milliseconds; a head's parts together, and an op that stands for several layers
        under the one that multiplies.
    """
    working = {layer.name for layer in model.layers if isinstance(layer, (*MAKERS, *DEPTHWISE))}
    whole = len(split.bindings) == len(model.outputs)
    heads = {
        binding.name: model.outputs[at if whole else binding.head or 0]._keras_history.operation.name
        for at, binding in enumerate(split.bindings)
    }
    found: dict[str, float] = {}
    for tensor, ms in by_tensor.items():
        parts = [heads[tensor]] if tensor in heads else re.split("[;/]", tensor)
        names = [name for part in parts for name in (part, re.sub(r"_\d+$", "", part)) if name in working]
        if names:
            found[names[0]] = found.get(names[0], 0.0) + ms
    return found


def timed(work: Work, ms: Mapping[str, float]) -> Work:
    """The same network's work in time, scaled so that all of it is as much as the multiply-accumulates of all of it.

    Args:
        work: Counted in multiply-accumulates.
        ms: Milliseconds by layer; layers without are weighed as the others suggest.

    Returns:
        Work whose numbers go with milliseconds; ``work`` itself where too little was measured to tell.
    """
    sizes = _sizes(work)
    known = {layer: size for layer, size in sizes.items() if ms.get(layer, 0) >= _LEAST_MS}
    dense = {layer: size for layer, size in known.items() if size.products and not size.single}
    if len(dense) < 2:
        return work
    rates = _Rates.fitted(dense, known, ms)
    terms: list[Term] = []
    for term in work.terms:
        expected = rates.milliseconds(sizes[term.layer])
        stretch = float(np.clip(ms.get(term.layer, expected) / expected, 1 / _STRETCH, _STRETCH))
        terms += [dataclasses.replace(part, factor=part.factor * stretch) for part in rates.weighed(term)]
    everything = np.ones(work.classes, np.bool_)
    scale = work.macs(everything) / Work(tuple(terms), work.classes).macs(everything)
    return Work(tuple(dataclasses.replace(term, factor=term.factor * scale) for term in terms), work.classes)


@dataclass
class _Size:
    """What a layer of the whole network does, all places where it is applied together.

    Attributes:
        products: Multiply-accumulates between channels read and channels made.
        outputs: Numbers those write.
        single: Multiply-accumulates within a channel.
    """

    products: float = 0.0
    outputs: float = 0.0
    single: float = 0.0


def _sizes(work: Work) -> dict[str, _Size]:
    found: dict[str, _Size] = {}
    for term in work.terms:
        size = found.setdefault(term.layer, _Size())
        if term.second is None:
            size.single += term.factor * len(term.first)
        else:
            size.products += term.factor * len(term.first) * len(term.second)
            size.outputs += term.places * len(term.second)
    return found


@dataclass(frozen=True)
class _Rates:
    """Milliseconds per product, per number written, and per product within a channel."""

    product: float
    output: float
    single: float

    @classmethod
    def fitted(cls, dense: Mapping[str, _Size], known: Mapping[str, _Size], ms: Mapping[str, float]) -> _Rates:
        """From layers that were measured."""
        table = [(size.products, size.outputs) for size in dense.values()]
        product, output = _fit(table, [ms[layer] for layer in dense])
        rates = [ms[layer] / size.single for layer, size in known.items() if size.single and not size.products]
        return cls(product, output, float(np.median(rates)) if rates else product)

    def milliseconds(self, size: _Size) -> float:
        """What a layer should take."""
        return size.products * self.product + size.outputs * self.output + size.single * self.single

    def weighed(self, term: Term) -> list[Term]:
        """A term in milliseconds: its products, and beside them the numbers that are written."""
        if term.second is None:
            return [dataclasses.replace(term, factor=term.factor * self.single)]
        written = Term(term.layer, term.places * self.output, term.places, term.second, None)
        return [dataclasses.replace(term, factor=term.factor * self.product), written]


def _fit(sizes: list[tuple[float, float]], ms: list[float]) -> tuple[float, float]:
    """Milliseconds per product and per number written, both at least 0, least squares of relative errors."""
    wanted = np.asarray(ms, np.float64)
    table = np.asarray(sizes, np.float64) / wanted[:, None]
    ones = np.ones(len(wanted))
    (per_product, per_output), *_ = np.linalg.lstsq(table, ones, rcond=None)
    if min(per_product, per_output) >= 0:
        return float(per_product), float(per_output)
    # One alone explains it best.
    alone = [float(column @ ones / max(column @ column, 1e-300)) for column in table.T]
    errors = [float(np.square(1 - column * each).sum()) for column, each in zip(table.T, alone, strict=True)]
    return (alone[0], 0.0) if errors[0] <= errors[1] else (0.0, alone[1])
