"""Measured accuracy as lines of text."""

from __future__ import annotations

from runtime.card import Accuracy


def accuracy_text(row: Accuracy) -> str:
    """What was measured on one data set, as lines."""
    table = table_lines(
        [
            ("float", row.float_map50, row.float_map50_95, None),
            ("int8", row.int8_map50, row.int8_map50_95, row.agreement_f1),
        ]
    )
    return "\n".join([f"  accuracy on {row.images} images of {row.dataset} ({row.settings})", *table])


def table_lines(rows: list[tuple[str, float, float, float | None]]) -> list[str]:
    """Name, AP50, AP50-95 and agreement F1 (all in percent), one line per network; drops against the first row."""
    width = max(len(name) for name, *_ in rows)
    lines = [f"  {'':{width}}    AP50  AP50-95  agreement F1"]
    first = rows[0]
    for index, (name, map50, map50_95, agreement) in enumerate(rows):
        shown = "" if agreement is None else f"{agreement:12.1f}"
        lines.append(f"  {name:{width}}  {map50:6.1f}  {map50_95:7.1f}  {shown}")
        if index:
            lines.append(f"  {'drop':{width}}  {first[1] - map50:6.1f}  {first[2] - map50_95:7.1f}")
    return lines
