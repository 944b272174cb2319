"""A report on disk."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from convert.report.html import render_html
from convert.report.markdown import render_markdown
from convert.report.model import ReportData
from runtime.files import make_folder, replacing
from runtime.schema import encode

PAGE, TEXT, DATA = "report.html", "report.md", "report.json"


def write_report(folder: Path, data: ReportData) -> Path:
    """Writes ``report.html``, ``report.md`` and ``report.json``; older ones are replaced one by one.

    Args:
        folder: Made if it is not there.
        data: What stands in them; the pictures stand in the page alone.

    Returns:
        The page.

    Raises:
        InputError: The folder cannot be made or written.
    """
    make_folder(folder)
    bare = tuple(dataclasses.replace(each, float_jpeg="", int8_jpeg="") for each in data.samples)
    plain = json.dumps(encode(dataclasses.replace(data, samples=bare)), indent=1, ensure_ascii=False) + "\n"
    for name, text in ((PAGE, render_html(data)), (TEXT, render_markdown(data)), (DATA, plain)):
        with replacing(folder / name) as scratch:
            # Pictures may have names that are not UTF-8.
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder / PAGE
