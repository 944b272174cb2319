"""The page: one file, nothing fetched from anywhere, light and dark."""

from __future__ import annotations

from html import escape

from convert.debug.model import Finding
from convert.evaluate.agreement import MIN_SCORE
from convert.report.model import ReportData, SamplePair
from convert.report.plots import histogram_plot, sqnr_plot
from convert.report.style import STYLE
from convert.report.tables import (
    Table,
    accuracy_table,
    calibration_rows,
    change_table,
    fact_rows,
    percent,
    repair_table,
    tensor_table,
)


def render_html(data: ReportData) -> str:
    """A report as a page of its own."""
    sections = [
        _section("Accuracy", _accuracy(data)),
        _section("What is wrong", _findings(data)),
        _section("Float and int8 side by side", _samples(data)),
        _section("What accuracy costs", _table(repair_table(data)) if data.repair else ""),
        _section("Noise, tensor by tensor", _tensors(data)),
        _section("Calibration images", _calibration(data)),
        _section("File and settings", _pairs(fact_rows(data))),
    ]
    name = escape(data.name)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        # Without one the browser asks for a favicon.
        f'<link rel="icon" href="data:,">\n<title>{name}: conversion report</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<header><h1>{name}</h1>{_tiles(data)}</header>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{body}\n</section>\n" if body else ""


def _tiles(data: ReportData) -> str:
    tiles = []
    if len(data.accuracy) > 1 and data.accuracy[0].map50 is not None:
        first, last = data.accuracy[0], data.accuracy[-1]
        tiles.append(("AP50, float to int8", f"{percent(first.map50)} &rarr; {percent(last.map50)}"))
    tiles += [(c.name, f"{percent(c.value)} %") for c in data.changes if c.name.startswith("agreement")]
    if data.bytes:
        tiles.append(("bytes", f"{data.bytes:,}"))
    if data.ops:
        tiles.append(("ops in XNNPACK", f"{data.delegated} of {data.ops}"))
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in tiles)
    return f"<dl class=tiles>{shown}</dl>" if tiles else ""


def _accuracy(data: ReportData) -> str:
    if not data.accuracy and not data.changes:
        return "<p>Not measured: no images were given.</p>"
    about = f"<p>{data.images} images of {escape(data.data)}.</p>"
    tables = [_table(accuracy_table(data))] * bool(data.accuracy) + [_table(change_table(data))] * bool(data.changes)
    return f"{about}<div class=columns>{''.join(tables)}</div>"


def _findings(data: ReportData) -> str:
    if not data.findings:
        return "<p>Nothing was found.</p>" if data.tensors else ""
    return "".join(_finding(each) for each in data.findings)


def _finding(finding: Finding) -> str:
    return (
        f"<article><h3>{escape(finding.kind)}</h3><p>{escape(finding.seen)}</p>"
        f"<p>{escape(finding.expected)}</p><p><b>What to do:</b> {escape(finding.fix)}</p></article>"
    )


def _samples(data: ReportData) -> str:
    if not data.samples:
        return ""
    note = f"<p>Those that differ most, and some that agree. Detections with a score of at least {MIN_SCORE:g}.</p>"
    return f"{note}<div class=pairs>{''.join(_sample(each) for each in data.samples)}</div>"


def _sample(pair: SamplePair) -> str:
    name = escape(pair.picture, quote=True)
    counts = f"{pair.agreed} agree, {pair.float_only} float only, {pair.int8_only} int8 only"
    return (
        f'<figure class=pair><img src="{pair.float_jpeg}" alt="{name}, float"><img src="{pair.int8_jpeg}" '
        f'alt="{name}, int8"><figcaption><b>float | int8</b> {name}: {counts}</figcaption></figure>'
    )


def _tensors(data: ReportData) -> str:
    if not data.tensors:
        return ""
    key = (
        "<p>Signal to noise in decibels, in order of execution. "
        "<span class=key><i class=dot></i> with all before it rounded too</span> "
        "<span class=key><i class=ring></i> rounded alone</span></p>"
    )
    plots = "".join(
        f"<figure><figcaption>{escape(each.tensor)}</figcaption>{histogram_plot(each)}</figure>"
        for each in data.histograms
    )
    about = "<p>Values of the tensors with most noise (heights are logarithmic); shaded is what int8 can hold.</p>"
    grid = f"{about}<div class=plots>{plots}</div>" if plots else ""
    return f"{key}<div class=wide>{sqnr_plot(data.tensors)}</div>{_table(tensor_table(data))}{grid}"


def _calibration(data: ReportData) -> str:
    rows = calibration_rows(data)
    return _pairs(rows) if rows else ""


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in table.headings)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    kind = " class=worded" if table.worded else ""
    return f"<div class=wide><table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _pairs(rows: list[tuple[str, str]]) -> str:
    return "<dl class=facts>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows if v) + "</dl>"
