"""The accuracy a quantisation may cost, and the gate that holds it to that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from convert.accuracy_text import accuracy_text, drop
from convert.data import Dataset
from convert.evaluate.agreement import MIN_SCORE
from convert.evaluate.detection import Prediction
from convert.recipe import Budget
from runtime.card import Accuracy
from runtime.errors import BudgetError, InputError

# What binary fractions add to a difference of percentages; a drop of exactly the budget is within it.
_ROUNDING = 1e-9
_STORED_DIGITS = 2


def require_objects(data: Dataset) -> None:
    """Refuses pictures that cannot show a loss of AP, before the long work starts.

    Raises:
        InputError: Not one of them has an object.
    """
    if not any(len(truth.class_ids) for truth in data.truths):
        raise InputError(
            f"none of the {len(data.truths)} images of {data.name} has an object",
            "a budget needs annotated images",
            "give other images with --data",
        )


def require_detections(reference: Sequence[Prediction], data: Dataset) -> None:
    """Refuses pictures in which there is nothing to agree on.

    Args:
        reference: What the float network finds in them.
        data: The pictures.

    Raises:
        InputError: It finds nothing.
    """
    if not any((one.found.scores >= MIN_SCORE).any() for one in reference):
        raise InputError(
            f"the float network finds nothing in the {len(reference)} images of {data.name}",
            f"agreement is measured on what it finds with a score of {MIN_SCORE:g} or more",
            "give images of what it knows with --data",
        )


def check_budget(accuracy: Sequence[Accuracy], budget: Budget | None) -> None:
    """Passes when every measured row is within the budget.

    Args:
        accuracy: What was measured, not rounded.
        budget: What may be lost; ``None`` allows everything.

    Raises:
        BudgetError: The int8 file lost more, or agrees less with the float network.
        InputError: The float network itself finds nothing right, so that no AP can be lost.
    """
    if budget is None:
        return
    table = "\n".join(map(accuracy_text, accuracy))
    for row in accuracy:
        if budget.max_drop is not None:
            require_accuracy(row)
        check_row(row, budget, _CALIBRATE, table)


_CALIBRATE = "nothing was written; calibrate on more images like those the device will see"


def require_accuracy(row: Accuracy) -> None:
    """Refuses figures that cannot show a loss.

    Raises:
        InputError: The float network itself finds nothing right.
    """
    if not row.float_map50:
        seen = "finds nothing annotated" if row.float_map50 is None else "has AP50 0"
        raise InputError(
            f"the float network {seen} on {row.images} images of {row.dataset}",
            "a budget needs images it finds something right in",
            "check --data, --labels and --resize",
        )


def check_row(row: Accuracy, budget: Budget, action: str, table: str = "") -> None:
    """Passes when one measured row is within the budget.

    Args:
        row: What was measured, not rounded.
        budget: What may be lost.
        action: What to do about a miss.
        table: Lines to print with the error.

    Raises:
        BudgetError: More was lost.
    """
    missed = [*_drop(row, budget), *_agreement(row, budget)]
    if missed:
        raise BudgetError(
            f"budget missed on {row.images} images of {row.dataset}: {' and '.join(seen for seen, *_ in missed)}",
            f"expected {' and '.join(expected for _, expected, _ in missed)}",
            f"{action}, or allow more with {' and '.join(flag for *_, flag in missed)}",
            table,
        )


def holds(accuracy: Sequence[Accuracy], budget: Budget) -> bool:
    """Whether every measured row is within the budget.

    Raises:
        InputError: As for :func:`check_budget`.
    """
    try:
        check_budget(accuracy, budget)
    except BudgetError:
        return False
    return True


def stored(accuracy: Sequence[Accuracy]) -> tuple[Accuracy, ...]:
    """The rows as they are written into a card: two decimals."""
    return tuple(_rounded(row) for row in accuracy)


def _rounded(row: Accuracy) -> Accuracy:
    figures: dict[str, Any] = {
        field.name: round(value, _STORED_DIGITS)
        for field in dataclasses.fields(row)
        if isinstance(value := getattr(row, field.name), float)
    }
    return dataclasses.replace(row, **figures)


def exceeds(lost: float, allowed: float) -> bool:
    """Whether more points were lost than may be; exactly as many are within the budget."""
    return lost > allowed + _ROUNDING


def _drop(row: Accuracy, budget: Budget) -> list[tuple[str, str, str]]:
    lost = drop(row)
    if budget.max_drop is None or lost is None or not exceeds(lost, budget.max_drop):
        return []
    seen, limit = _apart(lost, budget.max_drop)
    return [(f"int8 AP50 is {seen} points below float", f"at most {limit} points", "--max-drop")]


def _agreement(row: Accuracy, budget: Budget) -> list[tuple[str, str, str]]:
    if budget.min_agreement is None or row.agreement_f1 >= budget.min_agreement - _ROUNDING:
        return []
    seen, limit = _apart(row.agreement_f1, budget.min_agreement)
    return [(f"agreement F1 is {seen} %", f"at least {limit} %", "--min-agreement")]


def _apart(value: float, limit: float) -> tuple[str, str]:
    """Both numbers with as many decimals as it takes to tell them apart, two at least."""
    digits = next((d for d in range(2, 9) if round(value, d) != round(limit, d)), 9)
    return f"{value:.{digits}f}", f"{limit:.{digits}f}"
