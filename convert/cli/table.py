"""Columns of figures for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def print_columns(headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Prints one line per row, indented: its name, then its cells, right-aligned below their headings.

    Args:
        headings: One per column.
        rows: Name and cells, as many as there are headings.
    """
    name_width = max((len(name) for name, _ in rows), default=0)
    widths = [max([len(heading), 6, *(len(cells[i]) for _, cells in rows)]) for i, heading in enumerate(headings)]
    for name, cells in [("", headings), *rows]:
        shown = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print("  ".join([f"  {name:{name_width}}", *shown]))
