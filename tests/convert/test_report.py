"""Reports: what stands in them, and that the page is whole and stands alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.cli import main as convert
from convert.data import Dataset, Truth
from convert.debug.model import Finding, Restored, TensorError
from convert.quantize.calibration_check import CalibrationReport
from convert.report.gather import with_accuracy
from convert.report.html import render_html
from convert.report.markdown import render_markdown
from convert.report.model import Change, NetworkFigures, RepairStep, ReportData, SamplePair, TensorHistogram
from convert.report.write import write_report
from runtime.errors import BudgetError
from runtime.modelfile import require_card
from runtime.schema import decode
from tests.convert.evaluation import LABELS, predictions
from tests.convert.test_build import mirror, recipe_in

__all__ = ["mirror"]

NASTY = "<b>a|b</b> & \"c\" 'd' *e*"
TENSORS = tuple(
    TensorError(
        f"conv_{at}", (-1.0, 2.0), (-1.5, 2.5), 8, 30.0 - at, 40.0, 0.1 * at, 0.0, "activation", "why", restored
    )
    for at, restored in enumerate([None, Restored(("leaky_1",), 91.0, 2.5, 0.4), Restored((), 90.0, 1.5, 0.7), None])
)
FULL = ReportData(
    name=NASTY,
    method="int8 made up",
    data="made/val",
    images=64,
    accuracy=(NetworkFigures("float", 50.0, 40.0, 30.0), NetworkFigures("int8", 48.76, None, 29.0)),
    changes=(Change("AP50, int8 minus float", -1.24, -2.0, -0.04), Change("agreement F1", 90.5)),
    samples=(SamplePair(NASTY, 3, 1, 0, "data:image/gif;base64,R0lGODlhAQABAAAAACw=", "data:,"),),
    findings=(Finding("outlier channel", NASTY, "expected none", "do something"),),
    tensors=TENSORS,
    histograms=(TensorHistogram("conv_1", (-1.0, 2.0), (-4.0, 4.0), (1, 0, 5, 2)),),
    calibration=CalibrationReport(128, unused=3),
    repair=(
        RepairStep("int8", 48.8, 1.2, 90.5, 123456, 1.5),
        RepairStep("2 tensors in float", 49.5, 0.5, 93.0, 130000),
    ),
    bytes=123456,
    macs=91_000_000,
    delegated=110,
    ops=111,
    partitions=2,
    settings={"accuracy": "as always"},
    tools={"python": "3.11"},
)


def test_data_is_plain_and_comes_back(tmp_path: Path) -> None:
    page = write_report(tmp_path / "deep" / "report", FULL)
    assert page.name == "report.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "report.json", "report.md"]
    plain = json.loads((page.parent / "report.json").read_text())
    again = decode(ReportData, plain, "report.json")
    assert again.samples[0].float_jpeg == ""
    assert again.tensors == FULL.tensors
    assert again.repair == FULL.repair
    assert again.calibration == FULL.calibration


def test_pictures_may_have_names_that_are_not_utf8(tmp_path: Path) -> None:
    page = write_report(
        tmp_path, dataclasses.replace(FULL, samples=(SamplePair("b\udcff", 3, 1, 0, "data:,", "data:,"),))
    )
    assert "b\\udcff" in page.read_text()
    assert json.loads((tmp_path / "report.json").read_text())["samples"][0]["picture"] == "b\udcff"


def test_text() -> None:
    text = render_markdown(FULL)
    for line in (
        "| float | 50.0 | 40.0 | 30.0 |",
        "| int8 | 48.8 | - | 29.0 |",
        "| AP50, int8 minus float | -1.2 | -2.0 to -0.0 |",
        "| agreement F1 | 90.5 | - |",
        "| int8 | 48.8 | 1.2 | 90.5 | 123,456 | 1.50 |",
        "| 2 tensors in float | 49.5 | 0.5 | 93.0 | 130,000 | - |",
        "| conv_1 | 10.0% | 29.0 | 40.0 | 91.0 (+2.5) | 40% | activation |",
        "| conv_3 | 30.0% | 27.0 | 40.0 | - | - | activation |",
        "- XNNPACK: 110 of 111 ops in 2 partition(s)",
        "- images used: 128",
    ):
        assert line in text.splitlines()
    # Restored ones first, by the noise that is left; then by predicted noise.
    order = [line.split(" |")[0] for line in text.splitlines() if line.startswith("| conv_")]
    assert order == ["| conv_1", "| conv_2", "| conv_3", "| conv_0"]
    assert "<b>" not in text
    assert "a\\|b" in text


def test_page_escapes_names() -> None:
    page = render_html(FULL)
    assert "<b>a|b" not in page
    assert page.count("&lt;b&gt;a|b") >= 4


@pytest.mark.parametrize("data", [ReportData("bare"), ReportData("plots", tensors=TENSORS)])
def test_little_is_known(data: ReportData) -> None:
    page, text = render_html(data), render_markdown(data)
    assert "nan" not in page
    assert text.startswith(f"# {data.name}\n")
    assert ("<svg" in page) == bool(data.tensors)


def test_samples_are_those_that_differ_most(photos: Path) -> None:
    """Photo i is found with i wrong boxes by int8, up to five; of those that agree, the fullest."""
    paths = sorted(photos.glob("*.png"))
    box = np.array([[0.1, 0.1, 0.6, 0.6]], np.float32)
    data = Dataset("made", tuple(Truth(path, box, np.zeros(1, np.int32)) for path in paths), LABELS)
    right = (0.9, 0, (10.0, 10.0, 60.0, 60.0))
    wrong = [(0.5 + 0.01 * at, 1, (5.0 * at, 5.0, 5.0 * at + 40, 30.0)) for at in range(5)]
    other = (0.8, 2, (20.0, 20.0, 50.0, 70.0))
    reference = [[right, other] if at in (6, 7) else [right] for at in range(8)]
    found = [[right, *wrong[:at]] if at < 6 else reference[at] for at in range(8)]
    report = with_accuracy(ReportData("made"), predictions(*reference), predictions(*found), data, LABELS)
    assert [(s.picture, s.agreed, s.float_only, s.int8_only) for s in report.samples] == [
        *((paths[at].name, 1, 0, at) for at in (5, 4, 3, 2)),
        *((paths[at].name, 2, 0, 0) for at in (6, 7)),
    ]
    assert all(s.int8_jpeg.startswith("data:image/jpeg;base64,") for s in report.samples)
    assert [one.name for one in report.accuracy] == ["float", "int8"]
    (agreed,) = (each for each in report.changes if each.name == "agreement F1")
    assert agreed.value == pytest.approx(200 * 10 / (20 + 15))
    assert agreed.low is not None
    assert agreed.low < agreed.value


@pytest.fixture(scope="module")
def written(tiny_cfg: Path, photos: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a real conversion."""
    folder = tmp_path_factory.mktemp("report")
    target = folder / "out.tflite"
    arguments = ["quantize", tiny_cfg, "-o", target, "--calibration", photos, "--data", labelled]
    assert convert([*map(str, arguments), "--report", str(folder / "made")]) == 0
    return target


def test_report_of_a_conversion(written: Path) -> None:
    card = require_card(written)
    (row,) = card.accuracy
    report = decode(ReportData, json.loads((written.parent / "made" / "report.json").read_text()), "report.json")
    assert report.accuracy[1].map50 == pytest.approx(row.int8_map50, abs=0.01)
    assert report.bytes == written.stat().st_size
    assert (
        (report.delegated, report.ops) == (card.delegation.delegated, card.delegation.total) if card.delegation else 0
    )
    assert report.calibration is not None
    assert report.calibration.images == 8
    assert len(report.histograms) == 4
    assert {one.name for one in report.tensors} >= {"conv_0", "box_16", "class_8"}
    assert sum(one.noise for one in report.tensors) == pytest.approx(1, abs=0.01)


def test_a_missed_budget_is_reported_too(tiny_cfg: Path, photos: Path, labelled: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.tflite"
    arguments = ["quantize", tiny_cfg, "-o", target, "--calibration", photos, "--data", labelled, "--plain"]
    with pytest.raises(BudgetError):
        convert([*map(str, arguments), "--report", str(tmp_path / "made"), "--min-agreement", "100"])
    assert not target.exists()
    assert "agreement F1" in (tmp_path / "made" / "report.md").read_text()


def test_build_reports_where_there_are_annotated_images(
    tmp_path: Path, mirror: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, own = tmp_path / "build" / "models", tmp_path / "own"
    recipe = recipe_in(tmp_path, mirror, evaluation={"path": "val"})
    arguments = ["build", str(recipe), "--out", str(out), "--mirror", str(mirror)]
    assert convert(arguments) == 0
    assert not (out.parent / "reports").exists()
    shutil.copytree(labelled, mirror / "val")
    assert convert(arguments) == 0
    page = out.parent / "reports" / "made" / "report.html"
    assert page.exists()
    assert f"made: report in {page}" in capsys.readouterr().out
    (out / "made.tflite").unlink()
    assert convert([*arguments, "--report", str(own)]) == 0
    assert (own / "report.json").exists()


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        arguments = ["--disable-gpu", "--disable-background-networking"] + ["--no-sandbox"] * (os.geteuid() == 0)
        launched = driver.chromium.launch(executable_path=browser_path, args=arguments)
        yield launched
        launched.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 1100), ("light", 360)])
def test_page_in_a_browser(browser: Any, written: Path, scheme: str, width: int) -> None:
    page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    url = (written.parent / "made" / "report.html").as_uri()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    assert complaints == []
    assert [each for each in requests if not each.startswith("data:")] == [url]
    images = page.evaluate("[...document.images].map(image => [image.complete, image.naturalWidth])")
    assert len(images) >= 8
    assert all(complete and wide > 100 for complete, wide in images)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 150) == (scheme == "dark")
    assert page.evaluate("document.querySelectorAll('svg circle.dot').length") >= 15
    page.context.close()
