"""``python -m convert evaluate`` of a classifier."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runtime.commandline import Notes
from runtime.errors import InputError

if TYPE_CHECKING:
    from convert.data.classes import ClassPictures
    from convert.evaluate.classification import Integers, Ranking
    from runtime.classifier import Classifier

_SHOWN = 5


def run_classes(arguments: argparse.Namespace, classifier: Classifier) -> int:
    """Measures a classifier, and a reference beside it if there is one, and prints the figures.

    Raises:
        InputError: Pictures in no layout of classes, of classes the model does not know, or none that can be read;
            with ``--strict``, one that cannot be read.
    """
    from convert.data.classes import read_classes
    from convert.evaluate.models import open_classifier

    pictures = read_classes(arguments.data)
    reference = None
    if arguments.reference:
        reference = open_classifier(arguments.reference, arguments.labels, classifier.card)
    facts = _measure(arguments, pictures, classifier, reference)
    for model in (classifier, reference):
        if model:
            Notes(model.card).tell()
    if arguments.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        _print(facts)
    return 0


def _measure(
    arguments: argparse.Namespace, pictures: ClassPictures, classifier: Classifier, reference: Classifier | None
) -> dict[str, Any]:
    """The JSON object: ``evaluate`` of a classifier in ``docs/commands.md``."""
    from convert.evaluate.classification import accuracy, worst_classes

    truth = pictures.truth(classifier.card.labels)
    theirs = pictures.truth(reference.card.labels) if reference else truth
    known = (truth >= 0) & (theirs >= 0)
    paths = [path for path, wanted in zip(pictures.paths, known, strict=True) if wanted]
    mine, read = _rank(classifier, paths, arguments.model.name, arguments.strict)
    truth, theirs = truth[known][read], theirs[known][read]
    facts: dict[str, Any] = {
        "model": str(arguments.model),
        "data": pictures.name,
        "images": len(truth),
        "skipped_images": int((~read).sum()),
        "unknown_class_images": int((~known).sum()),
        "background_class": classifier.card.labels.background,
        **_rounded(accuracy(mine, truth)),
        "worst": worst_classes(mine, truth, classifier.labels),
    }
    if reference:
        other, _ = _rank(reference, paths, arguments.reference.name, arguments.strict, told=True)
        first, their_first = (int(model.card.labels.background) for model in (classifier, reference))
        facts |= _comparison(_Answers(mine, truth, first), _Answers(other, theirs, their_first))
        facts["reference"] = {"model": str(arguments.reference), **_rounded(accuracy(other, theirs))}
    return facts


@dataclass(frozen=True)
class _Answers:
    """What a model said: ``(n, 5)`` classes, the ``(n,)`` right ones, and its first class after the background."""

    classes: Integers
    truth: Integers
    first: int

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """``(n,)``: where the best class is the right one."""
        return np.equal(self.classes[:, 0], self.truth)

    @property
    def best(self) -> Integers:
        """``(n,)``: the best class, counted without the background."""
        return self.classes[:, 0] - self.first


def _comparison(mine: _Answers, other: _Answers) -> dict[str, Any]:
    """How two classifiers differ on the same pictures."""
    from convert.evaluate.classification import difference_interval

    low, high = difference_interval(mine.right, other.right)
    return {
        "agreement_top1": round(100 * float((mine.best == other.best).mean()), 2),
        "top1_difference": round(100 * float(mine.right.mean() - other.right.mean()), 2),
        "top1_difference_interval": [round(low, 2), round(high, 2)],
    }


def _rank(
    classifier: Classifier, paths: list[Path], name: str, strict: bool, told: bool = False
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Ranked classes of the pictures that can be read, and which those are; says which are not, unless ``told``."""
    from convert.evaluate.classification import rank
    from convert.progress import Progress

    ranking: Ranking = rank(classifier, paths, Progress(name))
    count = len(ranking.unread)
    if count and (strict or count == len(paths)):
        raise InputError(
            f"{count} of {len(paths)} images cannot be read, first {ranking.unread[0]}",
            "expected complete pictures",
            "correct them, or leave out --strict" if strict else "check --data",
        )
    if count and not told:
        lines = [*ranking.unread[:_SHOWN], *([f"... and {count - _SHOWN} more"] if count > _SHOWN else [])]
        print("\n".join(lines), file=sys.stderr)
    return ranking.classes[ranking.read], ranking.read


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def _print(facts: dict[str, Any]) -> None:
    left_out = [
        (facts["skipped_images"], "cannot be read"),
        (facts["unknown_class_images"], "of classes the model lacks"),
    ]
    notes = "".join(f", {count} left out: {why}" for count, why in left_out if count)
    print(f"{facts['images']} images of {facts['data']}{notes}")
    if facts["background_class"]:
        print("  class 0 of the model is the background and never counts as an answer")
    rows = [(f"reference {Path(r['model']).name}", r) for r in [facts.get("reference")] if r]
    rows.append((Path(facts["model"]).name, facts))
    width = max(len(name) for name, _ in rows)
    print(f"  {'':{width}}   top-1   top-5")
    for name, row in rows:
        print(f"  {name:{width}}  {row['top1']:6.1f}  {row['top5']:6.1f}")
    if "reference" in facts:
        low, high = facts["top1_difference_interval"]
        print(f"  the same first answer for {facts['agreement_top1']:.1f} % of the images")
        print(f"  top-1 differs by {facts['top1_difference']:+.1f} (95 % interval {low:+.1f} to {high:+.1f})")
    for row in facts["worst"]:
        often = f"{row['times']} time{'s' if row['times'] > 1 else ''}"
        print(f"  {row['wrong']} of {row['images']} wrong: {row['label']}, taken for {row['taken_for']} {often}")
