"""What is said about a data set's problems."""

from __future__ import annotations

from collections import Counter

from convert.data.dataset import Dataset, Problem
from convert.data.entries import shown

SHOWN = 20


def report(dataset: Dataset, limit: int = SHOWN) -> str:
    """One line per problem, those that cost a picture first, and a summary; empty when there is nothing to say.

    Args:
        dataset: The data set.
        limit: Problems to list; the others are counted.
    """
    problems = sorted(dataset.problems, key=lambda problem: problem.kept)
    lines = [str(problem) for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"... and {len(problems) - limit} more")
    if problems or dataset.background or dataset.crowds:
        lines.append(summary(dataset))
    return "\n".join(lines)


def summary(dataset: Dataset) -> str:
    """How many pictures are used, and the problems counted by kind, on one line."""
    total = len(dataset.truths) + dataset.skipped
    parts = [f"{dataset.name}: {len(dataset.truths)} of {total} images used, {dataset.skipped} skipped"]
    lost = [problem for problem in dataset.problems if not problem.kept]
    kept = [problem for problem in dataset.problems if problem.kept]
    if lost:
        parts.append(counts(lost))
    if kept:
        parts.append(f"used all the same: {counts(kept)}")
    if dataset.background:
        parts.append(f"{dataset.background} without objects (background)")
    if dataset.crowds:
        parts.append(f"{dataset.crowds} crowd annotations ignored")
    return "; ".join(parts)


def counts(problems: list[Problem]) -> str:
    """Problems counted by kind, as ``2 broken image, 1 no label``."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(p.kind for p in problems).items()))


def uncounted(dataset: Dataset, labels: tuple[str, ...]) -> str:
    """Says which objects an evaluation leaves out because the model has no such class; empty when there are none.

    Where a folder only numbers its classes, says what these numbers are taken for.

    Args:
        dataset: The data set.
        labels: The model's class names.

    Raises:
        InputError: The data set and the model have not one class in common.
    """
    unknown = dataset.class_map(labels) < 0
    if not dataset.names and dataset.annotated and labels:
        return f"{dataset.name}: no class names; its numbers are taken for the model's: 0 is {shown(labels[0])}, .."
    names = Counter(dataset.names[number] for truth in dataset.truths for number in truth.class_ids if unknown[number])
    if not names:
        return ""
    some = ", ".join(f"{shown(name)} ({count})" for name, count in names.most_common(5))
    return f"{dataset.name}: {names.total()} objects of {len(names)} classes the model lacks do not count: {some}"
