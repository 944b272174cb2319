"""A report as text."""

from __future__ import annotations

from convert.report.model import ReportData
from convert.report.tables import (
    Table,
    accuracy_table,
    calibration_rows,
    change_table,
    fact_rows,
    repair_table,
    tensor_table,
)


def render_markdown(data: ReportData) -> str:
    """A report as Markdown, without pictures."""
    parts = [f"# {_plain(data.name)}"]
    if data.accuracy or data.changes:
        parts.append(f"## Accuracy\n\n{data.images} images of {_plain(data.data)}.")
    parts += [_table(accuracy_table(data))] * bool(data.accuracy) + [_table(change_table(data))] * bool(data.changes)
    if data.findings:
        lines = [
            f"- **{f.kind}**: {_plain(f.seen)}; {_plain(f.expected)}. What to do: {_plain(f.fix)}"
            for f in data.findings
        ]
        parts.append("## What is wrong\n\n" + "\n".join(lines))
    if data.samples:
        rows = tuple((s.picture, str(s.agreed), str(s.float_only), str(s.int8_only)) for s in data.samples)
        parts.append(f"## Some images\n\n{_table(Table(('', 'agree', 'float only', 'int8 only'), rows))}")
    if data.repair:
        parts.append(f"## What accuracy costs\n\n{_table(repair_table(data))}")
    if data.tensors:
        parts.append(f"## Noise, tensor by tensor\n\n{_table(tensor_table(data))}")
    if data.calibration:
        parts.append("## Calibration images\n\n" + _list(calibration_rows(data)))
    parts.append("## File and settings\n\n" + _list(fact_rows(data)))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    rule = ["---"] + ["---:"] * (len(table.headings) - 1)
    if table.worded:
        rule[-1] = "---"
    lines = [table.headings, tuple(rule), *table.rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _list(rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {_plain(value)}" for name, value in rows if value)


def _plain(text: str) -> str:
    """Text that Markdown leaves alone."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
