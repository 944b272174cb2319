"""What is kept in the store so that the next deployment is quick."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.board import store
from deploy.board.bundle import Bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle with a wheel that says its name when it is run."""
    with zipfile.ZipFile(tmp_path / "pip-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pip/__main__.py", "print('pip')")
        wheel.writestr("pip/__init__.py", "name = 'whole'")
    with zipfile.ZipFile(tmp_path / "bundle.pyz", "w") as made:
        made.write(tmp_path / "pip-1-py3-none-any.whl", "parts/pip/pip-1-py3-none-any.whl")
    return Bundle(tmp_path / "bundle.pyz")


def test_pip_is_unpacked_and_compiled_once(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Left by a deployment that was cut off.
    (tmp_path / ".pip.part" / "pip").mkdir(parents=True)
    (tmp_path / ".pip.part" / "pip" / "__init__.py").write_text("name = 'half'")
    pip = store._pip(bundle, tmp_path)
    assert list(pip.glob("__pycache__/__init__*.pyc"))
    assert [path.name for path in pip.parent.iterdir()] == ["pip"]
    done = subprocess.run([sys.executable, "-I", "-S", pip], capture_output=True, text=True, check=False)
    assert done.stdout == "pip\n", done.stderr

    monkeypatch.setattr(Bundle, "unpack", lambda *words: pytest.fail("unpacked again"))
    assert store._pip(bundle, tmp_path) == pip
