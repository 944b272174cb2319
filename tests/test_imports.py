"""Who may import whom: the rules of the layout, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Third-party packages and own packages each folder may use.
ALLOWED = {
    "runtime": {"numpy", "cv2", "av", "libcamera", "picamera2", "runtime"},
    "apps": {"numpy", "cv2", "tornado", "paho", "prometheus_client", "runtime", "apps"},
    "deploy": {"cv2", "numpy", "packaging", "ansible", "apps", "convert", "runtime", "deploy"},
    "convert": {
        *("numpy", "cv2", "tensorflow", "keras", "ai_edge_litert", "ai_edge_quantizer", "flatbuffers", "pycocotools"),
        *("h5py", "matplotlib", "tomli_w", "yaml"),
        *("runtime", "convert"),
    },
}
FILES = sorted(path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names of all modules a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_folder_imports_only_what_it_may(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    foreign = set(imported(path)) - ALLOWED[folder] - set(sys.stdlib_module_names)
    assert not foreign


ON_THE_BOARD = sorted((ROOT / "deploy" / "board").glob("*.py"))


@pytest.mark.parametrize("path", ON_THE_BOARD, ids=lambda path: path.name)
def test_the_agent_on_a_board_needs_python_alone(path: Path) -> None:
    assert set(imported(path)) - set(sys.stdlib_module_names) <= {"deploy"}
    assert "deploy.board" in path.read_text() or "from deploy" not in path.read_text()


KERAS_ALONE = [path for folder in ("models", "train") for path in sorted((ROOT / "convert" / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", KERAS_ALONE, ids=lambda path: path.name)
def test_architectures_and_training_run_on_every_backend(path: Path) -> None:
    """One module knows TensorFlow: it replaces a layer there, and does nothing on other backends."""
    assert ("tensorflow" in set(imported(path))) == (path.name == "fused_norm.py")


COMMANDS = sorted(f"runtime.cli.{path.stem}" for path in (ROOT / "runtime" / "cli").glob("[a-z]*.py"))


@pytest.mark.parametrize("program", [*COMMANDS, "runtime.detector", "apps.live", "apps.outputs"])
def test_device_side_never_loads_tensorflow_or_convert(program: str) -> None:
    code = f"import sys, {program}; print([m for m in ('tensorflow', 'keras', 'convert') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("program", ["runtime", "runtime.__main__", "apps.live"])
def test_importing_it_loads_neither_opencv_nor_numpy(program: str) -> None:
    """A program loads them where a missing package is one line, and Ctrl-C no traceback."""
    code = f"import sys, {program}; print([m for m in ('cv2', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_detection_waits_for_no_module_it_does_not_need(tiny_model: Path) -> None:
    """Start-up is mostly imports; these were once a third of it."""
    code = (
        "import sys, numpy, cv2, ai_edge_litert.interpreter; before = set(sys.modules)\n"
        f"from runtime import Detector; Detector.open({str(tiny_model)!r}).detect(numpy.zeros((8, 8, 3), 'uint8'))\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert "runtime.decode.yolo" in loaded
    others = {"runtime.decode.ssd", "runtime.foreign.recognise", "runtime.sources", "runtime.cli", "runtime.track"}
    assert not loaded & {*others, "argparse", "email", "importlib.metadata", "tempfile", "asyncio", "urllib.request"}


def test_every_exported_name_exists() -> None:
    import runtime

    assert all(getattr(runtime, name) is not None for name in runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = runtime.Nothing
