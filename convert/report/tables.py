"""The tables of a report as rows of text, for both the page and the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convert.debug.model import TensorError
from convert.report.model import Change, ReportData

MOST_TENSORS = 15


@dataclass(frozen=True)
class Table:
    """A table: headings, and rows with as many cells. The first column is text, the others are figures.

    ``worded`` says that the last column is text too.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    worded: bool = False


def accuracy_table(data: ReportData) -> Table:
    """AP of float and int8."""
    rows = [(one.name, *map(percent, (one.map50, one.map75, one.map50_95))) for one in data.accuracy]
    return Table(("", "AP50", "AP75", "AP50-95"), tuple(rows))


def change_table(data: ReportData) -> Table:
    """Differences with their intervals."""
    return Table(("", "value", "95 % interval"), tuple((c.name, _value(c), interval(c)) for c in data.changes))


def repair_table(data: ReportData) -> Table:
    """What accuracy costs."""
    rows = [
        (s.name, percent(s.map50), percent(s.drop), f"{s.agreement:.1f}", f"{s.bytes:,}", _ms(s.ms))
        for s in data.repair
    ]
    return Table(("", "AP50", "drop", "agreement %", "bytes", "ms"), tuple(rows))


def tensor_table(data: ReportData) -> Table:
    """The tensors that bring most noise, or were restored, most telling first."""
    worst = worst_tensors(data.tensors)[:MOST_TENSORS]
    restored = any(one.restored for one in worst)
    headings = ["tensor", "noise", "dB", "alone"] + ["agreement restored", "noise left"] * restored + ["cause"]
    return Table(tuple(headings), tuple(_tensor_row(one, restored) for one in worst), worded=True)


def worst_tensors(tensors: Sequence[TensorError]) -> list[TensorError]:
    """Restored ones first, by the noise that was left then; the others by predicted noise."""
    return sorted(tensors, key=lambda t: (0, t.restored.head_noise) if t.restored else (1, -t.noise))


def _tensor_row(one: TensorError, restored: bool) -> tuple[str, ...]:
    row = [one.name, f"{one.noise:.1%}", f"{one.sqnr:.1f}", f"{one.own_sqnr:.1f}"]
    if restored:
        back = one.restored
        row += [f"{back.agreement_f1:.1f} ({back.gives_back:+.1f})", f"{back.head_noise:.0%}"] if back else ["-", "-"]
    return *row, one.cause


def fact_rows(data: ReportData) -> list[tuple[str, str]]:
    """Size, work, delegation and settings."""
    rows = [("quantisation", data.method)] if data.method else []
    if data.bytes:
        rows.append(("bytes", f"{data.bytes:,}"))
    if data.macs:
        rows.append(("multiply-accumulates", f"{data.macs / 1e6:.1f} million"))
    if data.ops:
        rows.append(("XNNPACK", f"{data.delegated} of {data.ops} ops in {data.partitions} partition(s)"))
    return [*rows, *data.settings.items(), ("tools", ", ".join(f"{k} {v}" for k, v in data.tools.items()))]


def calibration_rows(data: ReportData) -> list[tuple[str, str]]:
    """The calibration pictures in figures."""
    report = data.calibration
    if report is None:
        return []
    return [
        ("images used", str(report.images)),
        ("exact copies left out", str(len(report.exact_duplicates))),
        ("near copies", str(len(report.near_duplicates))),
        ("also in the evaluation images", str(len(report.leaked))),
        ("not needed", str(report.unused)),
    ]


def percent(value: float | None) -> str:
    """A percentage with one decimal."""
    return "-" if value is None else f"{round(value, 1) + 0.0:.1f}"


def interval(change: Change) -> str:
    """The ends of an interval."""
    if change.low is None or change.high is None:
        return "-"
    sign = "+" if change.name.startswith("AP") else ""
    return f"{change.low:{sign}.1f} to {change.high:{sign}.1f}"


def _value(change: Change) -> str:
    return f"{round(change.value, 1) + 0.0:{'+' if change.name.startswith('AP') else ''}.1f}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
