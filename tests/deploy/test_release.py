"""What a release is made of: tags, hashes, ids, the unit, and the comparison with the known answer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.board.smoke import compare
from deploy.board.steps import BoardError
from deploy.settings import Settings
from deploy.unit import OFFERED, unit_text
from deploy.wheelhouse import Tags, lock, requirements

# The same file for every board.
PURE = {"paho-mqtt", "prometheus-client"}


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        (Tags((3, 13), "aarch64", 41, False), {"av", "ai-edge-litert", "numpy", "opencv-python-headless", "tornado"}),
        (Tags((3, 11), "aarch64", 36, True), {"av", "ai-edge-litert", "opencv-python-headless", "tornado"}),
        (Tags((3, 11), "armv7l", 36, True), {"tflite-runtime"}),
    ],
)
def test_each_kind_of_board_has_its_packages(tags: Tags, names: set[str]) -> None:
    assert {line.partition("==")[0] for line in requirements(tags)} - PURE == names


def test_only_tags_the_board_can_load_are_named() -> None:
    options = Tags((3, 11), "aarch64", 36, False).options
    assert "manylinux_2_36_aarch64" in options
    assert "manylinux_2_37_aarch64" not in options
    assert "manylinux2014_aarch64" in options
    assert "cp311" in options


def test_wheels_are_locked_by_hash(tmp_path: Path) -> None:
    (tmp_path / "a_b-1.0-py3-none-any.whl").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert lock([tmp_path / "a_b-1.0-py3-none-any.whl"]) == f"a-b==1.0 --hash=sha256:{empty}\n"


CARD: dict[str, Any] = {"label": "ace", "score": 0.9, "box": [10, 10, 60, 90]}


@pytest.mark.parametrize(
    ("found", "good"),
    [
        ([CARD], True),
        ([{**CARD, "score": 0.89, "box": [11, 10, 60, 91]}], True),
        ([CARD, {**CARD, "score": 0.41}], True),
        ([], False),
        ([{**CARD, "label": "ten"}], False),
        ([{**CARD, "score": 0.87}], False),
        ([{**CARD, "box": [10, 10, 60, 93]}], False),
        ([CARD, CARD, CARD, CARD], False),
    ],
)
def test_the_known_answer(found: list[dict[str, Any]], good: bool) -> None:
    answer = {"score": 0.4, "detections": [CARD]}
    if good:
        compare(answer, found)
    else:
        with pytest.raises(BoardError, match="a wrong answer on the known picture"):
            compare(answer, found)


@pytest.mark.parametrize("source", ["0", "csi://0", "rtsp://cam/1?x=%20"])
@pytest.mark.parametrize("systemd", [252, 257])
def test_the_unit_is_hardened(tmp_path: Path, source: str, systemd: int) -> None:
    """systemd's own judge: 1.5 for a camera on USB, a little more for the devices a CSI camera needs."""
    text = unit_text("1-a", "m.tflite", Settings(tmp_path / "m.tflite", source), systemd, frozenset(OFFERED))
    assert ("RestartMaxDelaySec" in text) == (systemd == 257)
    assert "%20" not in text.replace("%%20", "")
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze (apt install systemd)")
    unit = tmp_path / "edgewren.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
