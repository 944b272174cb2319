"""Calibration sets with something wrong, and what is said about it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.cli import main as convert
from convert.data import Dataset, Truth
from convert.quantize.calibration import check_calibration, load_calibration
from convert.quantize.calibration_check import CalibrationReport, Finding, check_ranges
from convert.quantize.coverage import TensorCoverage
from runtime.card import InputSpec
from runtime.errors import InputError
from runtime.schema import decode, encode
from tests.conftest import picture

SPEC = InputSpec("image", 64, 64)


def report_of(folder: Path, images: list[np.ndarray]) -> CalibrationReport:
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return load_calibration(folder, SPEC).report


def grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 4, image.shape, dtype=np.uint8)
    return np.asarray(cv2.add(image, noise))


def good(count: int = 4) -> list[np.ndarray]:
    return [picture(seed) for seed in range(count)]


SETS: list[tuple[str, Callable[[], list[np.ndarray]], list[str], str]] = [
    ("good", good, [], ""),
    ("one", lambda: good(1), ["one picture"], "0.png is the only calibration image; give 64 or more"),
    ("copy", lambda: [*good(), picture(0)], ["exact duplicates"], "1 calibration images are exact copies .* 4.png"),
    ("near", lambda: [*good(), noisy(picture(0), 1)], ["near duplicates"], r"used: 4.png \(like 0.png\)"),
    ("dark", lambda: [*good(), noisy(np.zeros((90, 90, 3), np.uint8), 0)], ["constant"], "1 of 5 .*: 4.png"),
    ("all dark", lambda: [np.zeros((90, 90, 3), np.uint8)] * 3, ["exact duplicates", "one picture", "constant"], ""),
    ("frames", lambda: [noisy(picture(0), i) for i in range(5)], ["near duplicates", "all alike"], "all alike"),
    ("small", lambda: [*good(), picture(9, 15, 60)], ["small"], "1 of 5 .* enlarged more than 4 times: 4.png"),
    ("enough", lambda: [*good(), picture(9, 16, 60)], [], ""),
    ("grey", lambda: [grey(image) for image in good()], ["grey"], "all 4 calibration images are grey"),
    ("one in colour", lambda: [*map(grey, good()), picture(9)], [], ""),
]


@pytest.mark.parametrize(("images", "kinds", "text"), [row[1:] for row in SETS], ids=[row[0] for row in SETS])
def test_bad_sets(images: Callable[[], list[np.ndarray]], kinds: list[str], text: str, tmp_path: Path) -> None:
    report = report_of(tmp_path, images())
    assert [finding.kind for finding in report.warnings] == kinds
    if text:
        assert any(re.search(text, str(finding)) for finding in report.warnings)


def test_copies_are_left_out_and_only_they(tmp_path: Path, photos: Path) -> None:
    shutil.copytree(photos, tmp_path / "set")
    alone = load_calibration(tmp_path / "set", SPEC)
    (tmp_path / "set" / "sub").mkdir()
    shutil.copy(photos / "photo3.png", tmp_path / "set" / "sub" / "photo3.png")
    cv2.imwrite(str(tmp_path / "set" / "zz.png"), noisy(picture(2), 5))
    both = load_calibration(tmp_path / "set", SPEC)
    assert both.report.images == len(both.samples) == len(both.pictures) == 9
    assert [(p.first, p.second) for p in both.report.exact_duplicates] == [("photo3.png", "sub/photo3.png")]
    assert [(p.first, p.second) for p in both.report.near_duplicates] == [("photo2.png", "zz.png")]
    np.testing.assert_array_equal(both.samples[:8], alone.samples)

    # The hash is that of what was used.
    (tmp_path / "set" / "zz.png").unlink()
    assert load_calibration(tmp_path / "set", SPEC).sha256 == alone.sha256


def evaluation(folder: Path, images: dict[str, np.ndarray]) -> Dataset:
    folder.mkdir()
    for name, image in images.items():
        cv2.imwrite(str(folder / name), image)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    return Dataset("made/val", tuple(Truth(folder / name, *nothing) for name in images), ("wren",))


def test_leak_is_named_and_refused_when_strict(photos: Path, tmp_path: Path) -> None:
    images = {"a.png": picture(20), "b.bmp": picture(3), "c.png": noisy(picture(5), 1)}
    data = evaluation(tmp_path / "val", images)
    calibration = load_calibration(photos, SPEC)
    said: list[str] = []
    report = check_calibration(calibration, data, False, said.append)
    assert [(p.first, p.second, p.exact) for p in report.leaked] == [
        ("photo3.png", "val/b.bmp", True),
        ("photo5.png", "val/c.png", False),
    ]
    assert [finding.kind for finding in report.warnings] == ["leaked"]
    assert said == [str(report.warnings[0])]
    assert said[0].startswith("warning: 2 calibration images are also in made/val (1 exactly, 1 nearly)")
    with pytest.raises(InputError, match=r"also in made/val .*photo3\.png = val/b\.bmp"):
        check_calibration(calibration, data, True, said.append)


def test_no_leak(photos: Path, tmp_path: Path) -> None:
    data = evaluation(tmp_path / "val", {"a.png": picture(20), "b.png": picture(21)})
    calibration = load_calibration(photos, SPEC)
    said: list[str] = []
    assert check_calibration(calibration, data, True, said.append) == calibration.report
    assert check_calibration(calibration, None, True, said.append) == calibration.report
    assert said == []


def test_quantize_strict_refuses_a_leak(tiny_cfg: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "val" / "images")
    (tmp_path / "val" / "labels").mkdir()
    for path in photos.glob("*.png"):
        (tmp_path / "val" / "labels" / f"{path.stem}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (tmp_path / "val" / "classes.txt").write_text("wren\nrobin\nfinch\n")
    target = tmp_path / "out.tflite"
    arguments = ["quantize", tiny_cfg, "-o", target, "--calibration", photos, "--data", tmp_path / "val", "--strict"]
    with pytest.raises(InputError, match=r"8 calibration images are also in .*val \(8 exactly, 0 nearly\)"):
        convert([*map(str, arguments)])
    assert not target.exists()


def tensors(good_ones: int, bad_ones: int) -> list[TensorCoverage]:
    settled = [TensorCoverage(f"good{i}", 0.01, 0.02, 0, True) for i in range(good_ones)]
    return settled + [TensorCoverage(f"bad{i}", 0.2 + i / 100, 0.02, 0, False) for i in range(bad_ones)]


@pytest.mark.parametrize(
    ("images", "good_ones", "bad_ones", "expected"),
    [
        (128, 90, 10, ""),
        (128, 0, 0, ""),
        (
            128,
            89,
            11,
            "11 of 100 tensors had not settled with 128 images, worst bad10, bad9, bad8 and 8 more; calibrate",
        ),
        (128, 1, 1, "1 of 2 tensors had not settled with 128 images, worst bad0; calibrate on more than 128 images"),
        (1, 0, 1, "1 of 1 tensors had not settled with 1 image, worst bad0; calibrate on 64 or more images"),
    ],
)
def test_ranges(images: int, good_ones: int, bad_ones: int, expected: str) -> None:
    report = check_ranges(CalibrationReport(images), tensors(good_ones, bad_ones))
    assert [finding.kind for finding in report.warnings] == (["ranges"] if expected else [])
    if expected:
        assert expected in str(report.warnings[0])


def test_report_is_plain_data(tmp_path: Path) -> None:
    report = report_of(tmp_path, [*good(), picture(0), noisy(picture(1), 1)])
    assert report.exact_duplicates
    assert report.near_duplicates
    plain = json.loads(json.dumps(encode(report)))
    assert decode(CalibrationReport, plain, "report") == report
    assert plain["warnings"][0].keys() == {"kind", "seen", "fix"}
    assert Finding(**plain["warnings"][0]) == report.warnings[0]


@pytest.mark.parametrize("folder", ["coco-sample/train/images", "cards/train", "fruit/train"])
def test_photographs_are_a_good_set(folder: str, shared: Path) -> None:
    """Real folders get no warning but for the cards' second shots."""
    report = load_calibration(shared / "data" / folder, InputSpec("image", 320, 320)).report
    kinds = [finding.kind for finding in report.warnings]
    assert kinds == (["near duplicates"] if folder == "cards/train" else [])
