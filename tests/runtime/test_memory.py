"""Memory does not grow with the number of frames."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import run_module

FRAMES = 8_000
# A leak of 60 bytes a frame.
MOST_KB = 450


@pytest.mark.parametrize("flags", [[], ["--pipeline"]], ids=["one by one", "pipeline"])
def test_memory_stays(flags: list[str], tiny_model: Path) -> None:
    done = run_module("tests.runtime.memory", tiny_model, "--frames", FRAMES, *flags)
    assert done.returncode == 0, done.stderr
    objects, grown = re.findall(r"(\d+) objects.* ([+-]\d+) kB", done.stdout)[0]
    assert int(objects) > FRAMES
    assert int(grown) < MOST_KB
