"""Whether a network finds far more when its pictures are normalised in another common way.

A wrong normalisation is no fault of int8: the float network has it too, and so nobody sees a loss. It shows only when
the network is tried with other numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from convert.debug.model import Finding
from convert.debug.pictures import Pictures, detections
from convert.evaluate.agreement import MIN_IOU, agreement_f1
from convert.evaluate.detection import Prediction, pixel_truths
from runtime.card import Color, InputSpec, ModelCard
from runtime.detections import Detections
from runtime.nms import iou_matrix

Floats = npt.NDArray[np.float32]
# Boxes, ``(n, 4)`` in pixels, and classes.
Objects = tuple[Floats, npt.NDArray[np.int32]]
Run = Callable[[Floats], Sequence[Floats]]

# The other way must be so many times better, and not by a single lucky box. Of eight images and a right normalisation
# the next best reached 1.2 times its figure (four networks, one of them on images of nothing it knows).
_BETTER, _LEAST_F1, _LEAST_SCORE = 1.4, 10.0, 1.0
_PICTURES = 8
_SAME = 0.03
# More confident boxes than this in one picture are the mark of a network that is fed far too large numbers.
_CROWD = 40
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def alternatives(spec: InputSpec) -> dict[str, InputSpec]:
    """The common ways to feed a network, by name, but for the one it is fed in."""
    ways: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {
        "0..1": (np.array([1 / 255]), np.zeros(1)),
        "-1..1": (np.array([1 / 127.5]), -np.ones(1)),
        "0..255": (np.ones(1), np.zeros(1)),
        "ImageNet's mean and deviation": (1 / (255 * _STD), -_MEAN / _STD),
    }
    colors: tuple[Color, ...] = ("rgb", "bgr")
    found = {}
    for name, (scale, offset) in ways.items():
        for color in colors:
            # Means and deviations are those of red, green, blue.
            order = slice(None, None, -1 if color == "bgr" else 1)
            other = dataclasses.replace(
                spec, color=color, scale=tuple(scale[order].tolist()), offset=tuple(offset[order].tolist())
            )
            if not _alike(spec, other):
                found[f"{name}, {color}"] = other
    return found


def check_normalisation(
    card: ModelCard,
    names: Sequence[str],
    run: Run,
    pictures: Pictures,
    reference: Sequence[Prediction] | None = None,
) -> Finding | None:
    """Tries a float network with other normalisations.

    Args:
        card: Says how its pictures are normalised now.
        names: Of its outputs.
        run: The network: ``(n, height, width, 3)`` to its outputs.
        pictures: A few are used.
        reference: What another network finds in them, where nobody has told what is in them.

    Returns:
        The better way, if there is one.
    """
    few = pictures.few(_PICTURES)
    known = _truths(card, few, reference)

    def total(spec: InputSpec) -> float:
        fed = dataclasses.replace(card, input=spec)
        found = detections(fed, names, run(few.samples(spec)), few.frames)
        if known is not None:
            return agreement_f1(found, known)
        return _consistent(found, _seen_in_mirror(fed, names, run, few))

    given = total(card.input)
    scores = {name: total(spec) for name, spec in alternatives(card.input).items()}
    best = max(scores, key=lambda name: scores[name])
    least = _LEAST_SCORE if known is None else _LEAST_F1
    if scores[best] < max(least, _BETTER * given):
        return None
    what = "scores of detections that the mirrored image confirms" if known is None else "F1 of detections in percent"
    return Finding(
        "normalisation",
        f"the {what} on {len(few.frames)} images: {given:.1f} with {describe(card.input)}, "
        f"{scores[best]:.1f} with {best}",
        f"expected the input as it was in training, so probably {best}",
        "correct scale, offset and colour order of the input where the network is imported, and convert again",
    )


def describe(spec: InputSpec) -> str:
    """The numbers a network gets, in a few words."""
    scale, offset = np.broadcast_arrays(np.array(spec.scale), np.array(spec.offset))
    ends = np.concatenate([offset, offset + 255 * scale])
    return f"{ends.min():.3g}..{ends.max():.3g}, {spec.color}"


def _alike(one: InputSpec, other: InputSpec) -> bool:
    def ends(spec: InputSpec) -> npt.NDArray[np.float64]:
        scale, offset = np.broadcast_arrays(np.array(spec.scale), np.array(spec.offset))
        return np.asarray(np.stack(np.broadcast_arrays(offset, offset + 255 * scale, np.zeros(3))[:2]))

    first, second = ends(one), ends(other)
    return one.color == other.color and bool((np.abs(first - second) <= _SAME * np.ptp(first)).all())


def _truths(card: ModelCard, few: Pictures, reference: Sequence[Prediction] | None) -> list[Prediction] | None:
    """What is in the pictures: as annotated, or as another network finds it; ``None`` where nobody knows."""
    if few.data.annotated:
        empty = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        nothing = [Prediction(Detections(*empty), frame.width, frame.height) for frame in few.frames]
        truths = pixel_truths(nothing, few.data, card.labels.names)
        return [
            Prediction(
                Detections(np.asarray(truth.boxes, np.float32), np.ones(len(truth.boxes), np.float32), truth.class_ids),
                one.width,
                one.height,
            )
            for one, truth in zip(nothing, truths, strict=True)
        ]
    return None if reference is None else [reference[at] for at in few.chosen]


def _seen_in_mirror(card: ModelCard, names: Sequence[str], run: Run, few: Pictures) -> list[Objects]:
    """What a network finds in the mirrored pictures, mirrored back: it sees objects again, but not its own fancies."""
    mirrored = few.mirrored()
    found = detections(card, names, run(mirrored.samples(card.input)), mirrored.frames)
    truths = []
    for one in found:
        x1, y1, x2, y2 = one.found.boxes.T
        truths.append((np.stack([one.width - x2, y1, one.width - x1, y2], axis=1), one.found.class_ids))
    return truths


def _consistent(found: Sequence[Prediction], mirrored: Sequence[Objects]) -> float:
    """Scores of what is found again in the mirrored picture, less what would be found again in any other picture.

    A network that is fed wrong numbers may find the same boxes in whatever it sees, which a mirror alone does not show.
    """
    total = 0.0
    for at, one in enumerate(found):
        if len(one.found) > _CROWD:
            continue
        size = np.array([one.width, one.height] * 2, np.float32)
        next_one, (boxes, class_ids) = found[(at + 1) % len(found)], mirrored[(at + 1) % len(found)]
        elsewhere = boxes / np.array([next_one.width, next_one.height] * 2, np.float32) * size
        total += _hits(one, *mirrored[at])
        total -= _hits(one, np.asarray(elsewhere, np.float32), class_ids) if len(found) > 1 else 0
    return total


def _hits(prediction: Prediction, boxes: Floats, class_ids: npt.NDArray[np.int32]) -> float:
    """Summed best score of each object that is found, less the same share as there are wrong detections."""
    found = prediction.found
    if not len(found) or not len(boxes):
        return 0.0
    overlap = iou_matrix(boxes, found.boxes)
    good = (overlap >= MIN_IOU) & (class_ids[:, None] == found.class_ids)
    right = np.where(good, found.scores, 0)
    return float(right.max(axis=1).sum() * good.any(axis=0).mean())
