"""Measured accuracy as lines of text."""

from __future__ import annotations

from runtime.card import Accuracy


def accuracy_text(row: Accuracy) -> str:
    """What was measured on one data set, as lines; percentages."""
    where = f"{row.images} images of {row.dataset}"
    if row.float_map50 is None:
        return f"  agreement F1 with float on {where}, without annotations: {row.agreement_f1:.1f} %"
    fine = None if row.float_map50_95 is None or row.int8_map50_95 is None else row.float_map50_95 - row.int8_map50_95
    return "\n".join(
        [
            f"  accuracy on {where} ({row.settings})",
            "           AP50  AP50-95  agreement F1",
            f"  float  {figure(row.float_map50):>6}  {figure(row.float_map50_95):>7}",
            f"  int8   {figure(row.int8_map50):>6}  {figure(row.int8_map50_95):>7}  {row.agreement_f1:12.1f}",
            f"  drop   {figure(drop(row)):>6}  {figure(fine):>7}",
        ]
    )


def drop(row: Accuracy) -> float | None:
    """Points of AP50 that int8 is below float; ``None`` where nothing was annotated."""
    return None if row.float_map50 is None or row.int8_map50 is None else row.float_map50 - row.int8_map50


def figure(value: float | None) -> str:
    """A percentage with one decimal, or a dash."""
    return "-" if value is None else f"{value:.1f}"
