"""The table of boards: measured rows and published ones are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.benchmark import PUBLISHED, results_table

ROW: dict[str, Any] = {
    "machine": "Raspberry Pi 5", "model": "/opt/edgewren/current/cards.tflite", "provider": "litert 2.3.0",
    "threads": 2, "runs": 200, "inference_ms": {"min": 1.0, "median": 1.234, "p95": 2.0}, "throttled": False,
    "after": {"celsius": 61.4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("throttled", "words"), [(False, "61 degrees C, not throttled"), (True, "not valid"), (None, "61 degrees C |")]
)
def test_a_row_says_where_it_comes_from(throttled: bool | None, words: str) -> None:
    lines = results_table([ROW | {"throttled": throttled}]).splitlines()
    assert "| cards | litert 2.3.0 | 2 | 1.23 | measured, 200 runs" in lines[2]
    assert words in lines[2]
    assert len([line for line in lines if line.endswith("| published |")]) == len(PUBLISHED)


def test_what_nothing_tells_is_left_out_and_a_virtual_machine_is_named() -> None:
    row = results_table([ROW | {"throttled": None, "after": {"celsius": None}, "virtual": "kvm"}]).splitlines()[2]
    assert row.endswith("| measured on a virtual machine (kvm), 200 runs |")
