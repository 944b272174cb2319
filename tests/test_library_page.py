"""The examples of ``docs/library.md`` run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.conftest import ROOT, picture

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
SAID = [
    r"\d+\.\d+ \d+\.\d+ \d+\.\d+\n$",
    r"10 \d+ \d+\.\d ms old, \d+ left out|1\d \d+",
    r"^error: missing\.tflite: no such file",
]


@pytest.mark.parametrize(
    ("example", "said"), list(zip(EXAMPLES, SAID, strict=True)), ids=["picture", "stream", "errors"]
)
def test_example(example: str, said: str, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_model, tmp_path / "model.tflite")
    cv2.imwrite(str(tmp_path / "picture.jpg"), picture(3, 160, 120))
    done = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(said, done.stdout), done.stdout
