"""An explanation from measurements: rank tensors, restore the most suspicious ones, name causes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from convert.debug.causes import cause
from convert.debug.findings import tensor_findings
from convert.debug.model import Explanation, Finding, Restored, TensorError
from convert.debug.normalisation import check_normalisation
from convert.debug.outputs import check_outputs
from convert.debug.pictures import Pictures, detections
from convert.debug.statistics import Statistics, decibels, head_noise
from convert.evaluate.agreement import agreement_f1
from convert.evaluate.detection import Prediction
from convert.progress import Progress
from runtime.card import ModelCard

Floats = npt.NDArray[np.float32]
# Each restored tensor is a pass over all pictures.
MOST_RESTORED = 12


class Subject(Protocol):
    """A rounded network that can be taken apart.

    Attributes:
        float_heads: What it computes with nothing rounded (but perhaps its weights): ``(n, ...)`` for each output.
    """

    float_heads: list[Floats]

    def run_float(self, samples: Floats) -> list[Floats]:
        """Outputs for other inputs, with nothing rounded."""

    def heads(self) -> list[Floats]:
        """Outputs with everything rounded."""

    def restored(self, names: Collection[str]) -> list[Floats]:
        """Outputs with everything rounded but some tensors."""

    def measure(self) -> list[Statistics]:
        """Looks at every int8 tensor."""


def explain(
    card: ModelCard,
    names: Sequence[str],
    subject: Subject,
    pictures: Pictures,
    reference: Sequence[Prediction] | None = None,
    others: Sequence[Finding] = (),
) -> tuple[Explanation, list[Statistics]]:
    """Explains a network.

    Args:
        card: Its card.
        names: Of its outputs.
        subject: The network.
        pictures: What it was measured on.
        reference: What the float network found in them; by default what ``subject`` finds with nothing rounded.
        others: What is known already about the whole model.

    Returns:
        The explanation, and what was measured on each tensor.
    """

    def agreed(heads: Sequence[Floats]) -> float:
        return agreement_f1(detections(card, names, heads, pictures.frames), expected)

    expected = detections(card, names, subject.float_heads, pictures.frames) if reference is None else reference
    measured = subject.measure()
    rounded = subject.heads()
    noise, agreement = head_noise(rounded, subject.float_heads), agreed(rounded)
    tensors = tensor_errors(measured)
    restored = _restore(subject, tensors, {one.name: one.partner for one in measured}, agreed)
    tensors = [replace(one, restored=restored.get(one.name)) for one in tensors]
    better = check_normalisation(card, names, subject.run_float, pictures, reference)
    findings = [
        *check_outputs(card, names, subject.float_heads),
        *([better] if better else []),
        *others,
        *tensor_findings(tensors, agreement),
    ]
    explanation = Explanation(
        card.name,
        pictures.data.name,
        len(pictures.frames),
        round(agreement, 2),
        round(decibels(1.0, noise), 2),
        tuple(findings),
        tuple(sorted(tensors, key=_order)),
    )
    return explanation, measured


def _restore(
    subject: Subject,
    tensors: Sequence[TensorError],
    partners: Mapping[str, str],
    agreed: Callable[[Sequence[Floats]], float],
) -> dict[str, Restored]:
    """Puts the most suspicious tensors back to float, one at a time."""
    before = subject.restored(())
    noise, agreement = head_noise(before, subject.float_heads), agreed(before)
    chosen, restored = _suspects(tensors, partners), {}
    progress = Progress("restoring tensors")
    for done, name in enumerate(chosen, start=1):
        together = [name, partners[name]] if partners[name] else [name]
        heads = subject.restored(together)
        f1 = agreed(heads)
        left = head_noise(heads, subject.float_heads) / max(noise, 1e-30)
        restored[name] = Restored(tuple(together[1:]), round(f1, 2), round(f1 - agreement, 2), round(left, 4))
        progress(done, len(chosen))
    return restored


def tensor_errors(measured: Sequence[Statistics]) -> list[TensorError]:
    """What was measured as errors and causes, most noise first."""
    total = sum(one.noise for one in measured) or 1.0
    tensors = []
    for one in measured:
        share, weights = one.noise / total, one.weight_noise / total
        why, detail = cause(one, share, weights)
        tensors.append(
            TensorError(
                one.name,
                (float(one.range[0]), float(one.range[1])),
                (float(one.low.min()), float(one.high.max())),
                len(one.low),
                round(one.sqnr, 2),
                round(one.own_sqnr, 2),
                round(share, 5),
                round(weights, 5),
                why,
                detail,
            )
        )
    return sorted(tensors, key=lambda each: -each.noise)


def _suspects(tensors: Sequence[TensorError], partners: Mapping[str, str]) -> list[str]:
    """Names of the tensors with most noise, each pair around a leaky ReLU once."""
    chosen: list[str] = []
    for one in tensors:
        if partners[one.name] not in chosen or not partners[one.name]:
            chosen.append(one.name)
    return chosen[:MOST_RESTORED]


def _order(one: TensorError) -> tuple[float, ...]:
    """Restored ones first, by the noise that is left; the others by predicted noise.

    Agreement on few pictures moves by a point or two by itself; noise in the outputs does not.
    """
    return (1.0, -one.noise) if one.restored is None else (0.0, one.restored.head_noise)
