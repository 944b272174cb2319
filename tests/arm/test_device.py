"""The device side on emulated ARM: installed offline, and the same answers as here."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.engine import Engine
from runtime.frame import Frame
from runtime.modelfile import require_card
from runtime.preprocess import Preprocessor
from runtime.scenes import draw_scene
from tests.arm.boards import CORES, Board, UserLand
from tests.arm.boards.cache import kept, sources, version
from tests.arm.device import PYTHON, ready
from tests.conftest import ROOT, SHARED, SHARED_ABSENT, WITH_MACHINES, run_module
from tests.ports import free_port, listens
from tests.waiting import until

# A minute of emulation for every test run; the rest, some minutes, belongs to make test-arm.
_LONG = pytest.mark.machine
_MODELS = ["tiny", *(pytest.param(name, marks=_LONG) for name in ("playing-cards", "yolo-fastest-1.1"))]
_HERE = Path(__file__).parent
_ZOO = SHARED / "zoo"
_IMAGES = 20
_SCRIPTS = (_HERE / "outputs.py", _HERE / "tensors.py")


@pytest.fixture(scope="session")
def models(kept_tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny.tflite``; for make test-arm also the shipped model, and Yolo-Fastest where its weights are.

    Those two are built by the program itself and take a minute each.
    """
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(kept_tiny, folder / "tiny.tflite")
    if WITH_MACHINES:
        for path in kept("models", [*sources("convert", "runtime"), str(_ZOO.is_dir())], _build).glob("*.tflite"):
            shutil.copy(path, folder)
    return folder


def _build(folder: Path) -> None:
    for name in ("playing-cards", *(["yolo-fastest-1.1"] if _ZOO.is_dir() else [])):
        done = run_module("convert", "build", name, "--out", folder, "--mirror", _ZOO, timeout=900)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def equipped(user_land: Callable[..., UserLand], models: Path, scene: Path) -> Callable[[str], UserLand]:
    """A Raspberry Pi 4's user-land of a release, with the program, the models and a picture in ``/opt/test``."""

    @functools.cache
    def equip(suite: str) -> UserLand:
        board = user_land(suite, over=ready(suite))
        board.run("install -d -o pi /opt/test", user="root")
        board.send([*models.glob("*.tflite"), scene, *_SCRIPTS], "/opt/test")
        return board

    return equip


@pytest.fixture(params=[pytest.param("bookworm", marks=_LONG), "trixie"])
def board(request: pytest.FixtureRequest, equipped: Callable[[str], UserLand]) -> UserLand:
    return equipped(request.param)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A drawn picture with playing cards, of the network's own size: OpenCV resizes differently on ARM."""
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    size = require_card(next(models.glob("playing-cards.tflite"), models / "tiny.tflite")).input
    cv2.imwrite(str(path), cv2.resize(draw_scene(7).pixels, (size.width, size.height), interpolation=cv2.INTER_AREA))
    return path


def test_doctor_finds_nothing_wrong(board: UserLand) -> None:
    checks = {check["name"]: check for check in json.loads(board.run(f"{PYTHON} -m runtime doctor --json"))["checks"]}
    for name in ("python", "interpreter", "xnnpack", "opencv"):
        assert checks[name]["ok"], checks[name]
    assert "aarch64" in checks["python"]["detail"]
    assert "litert" in checks["interpreter"]["detail"]


@_LONG
def test_detects_what_this_machine_detects(board: UserLand, models: Path, scene: Path) -> None:
    said = board.run(
        f"{PYTHON} -m runtime detect /opt/test/playing-cards.tflite /opt/test/scene.png --score 0.5 --json"
    )
    done = run_module("runtime", "detect", models / "playing-cards.tflite", scene, "--score", "0.5", "--json")
    there, here = (json.loads(text)["detections"] for text in (said, done.stdout))
    assert len(here) >= 2
    assert [found["label"] for found in there] == [found["label"] for found in here]
    np.testing.assert_allclose([found["score"] for found in there], [found["score"] for found in here], atol=0.001)
    np.testing.assert_allclose([found["box"] for found in there], [found["box"] for found in here], atol=0.1)


@_LONG
def test_bench_runs(board: UserLand) -> None:
    said = board.run(f"{PYTHON} -m runtime bench /opt/test/tiny.tflite --runs 3 --threads 1 --json")
    assert "inference_ms" in said


@_LONG
def test_live_page_is_served(board: UserLand) -> None:
    port = free_port()
    program = f"{PYTHON} -m apps.live /opt/test/playing-cards.tflite synthetic://cards http://127.0.0.1:{port}"
    board.run(f"nohup {program} --seconds 60 >/tmp/live.log 2>&1 </dev/null & echo $! >/tmp/live.pid")
    try:
        until(lambda: listens(port), "it does not listen", 60)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert b"<html" in page.read().lower()
    finally:
        board.run("kill $(cat /tmp/live.pid); cat /tmp/live.log")


@pytest.fixture(scope="session")
def answers(
    equipped: Callable[[str], UserLand], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Path]]:
    """A core's answers and this machine's, two folders of ``NAME.npz``; all get the very same input tensors.

    A core's are kept: they are the same as long as models, tensors, and what computes there are.
    """
    folder = tmp_path_factory.mktemp("answers")
    inputs, here = folder / "inputs", folder / "here"
    inputs.mkdir()
    here.mkdir()
    names = sorted(path.stem for path in models.glob("*.tflite"))
    for name in names:
        np.save(inputs / f"{name}.npy", _inputs(models / f"{name}.tflite"))
    _outputs(*(part for name in names for part in _triple(name, models, inputs, here)))
    given = [*sorted(models.glob("*.tflite")), *sorted(inputs.iterdir())]

    def answer(core: str, target: Path) -> None:
        board, place = equipped("trixie"), Path("/opt/test")
        board.send([inputs], str(place))
        board.run(f"mkdir {place / core}", user="root")
        words = [str(part) for name in names for part in _triple(name, place, place / "inputs", place / core)]
        _as_core(board, core, shlex.join([PYTHON, f"{place}/outputs.py", *words]))
        shutil.copytree(board.path(f"{place}/{core}"), target)

    @functools.cache
    def of(core: str) -> tuple[Path, Path]:
        emulated = [*(layer.name for layer in ready("trixie")), CORES[core].cpuinfo(), version("qemu-aarch64-static")]
        made_by: list[Path | str] = [Path(__file__), *_SCRIPTS, *given, *emulated]
        return kept(f"answers-{core}", made_by, lambda target: answer(core, target)), here

    return of


def _triple(name: str, models: Path, inputs: Path, out: Path) -> list[Path]:
    return [models / f"{name}.tflite", inputs / f"{name}.npy", out / f"{name}.npz"]


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", _MODELS)
def test_int8_outputs_are_those_of_this_machine(
    answers: Callable[[str], tuple[Path, Path]], models: Path, name: str, core: str
) -> None:
    """XNNPACK's int8 kernels of each core against those of this machine, on the very same input tensors."""
    if not (models / f"{name}.tflite").exists():
        pytest.skip(SHARED_ABSENT)
    got, expected = (np.load(folder / f"{name}.npz") for folder in answers(core))
    assert sorted(got.files) == sorted(expected.files)
    assert all(len(expected[each]) == _IMAGES for each in expected.files)
    differing = {each: int(np.count_nonzero(got[each] != expected[each])) for each in got.files}
    assert not any(differing.values()), differing
    assert all(len(np.unique(expected[each])) > 3 for each in got.files)


@pytest.mark.parametrize("name", _MODELS)
def test_only_resizing_differs(equipped: Callable[[str], UserLand], models: Path, name: str, tmp_path: Path) -> None:
    """A picture of another size than the network's: OpenCV rounds some pixels differently, and that is all.

    The board's own tensors, given to the network on this machine, lead to the board's outputs bit for bit.
    """
    model = models / f"{name}.tflite"
    if not model.exists():
        pytest.skip(SHARED_ABSENT)
    frames, ours, theirs = (tmp_path / f"{name}-{part}.npy" for part in ("frames", "ours", "theirs"))
    np.save(frames, np.stack([draw_scene(seed, 640, 480).pixels for seed in range(4)]))
    subprocess.run([sys.executable, _HERE / "tensors.py", model, frames, ours], cwd=ROOT, check=True, env=_paths())
    board, place = equipped("trixie"), f"/opt/test/{name}"
    board.send([frames], "/opt/test")
    made = f"{place}-theirs.npy"
    board.run(
        f"cd /opt/test && {PYTHON} tensors.py {place}.tflite {frames.name} {made} && "
        f"{PYTHON} outputs.py {place}.tflite {made} {place}-theirs.npz",
        user="root",
        timeout=300,
    )
    shutil.copy(board.path(f"{place}-theirs.npy"), theirs)
    here = tmp_path / "here.npz"
    _outputs(model, theirs, here)

    apart = np.abs(np.load(ours).astype(np.int16) - np.load(theirs).astype(np.int16))
    print(f"{name}: {100 * np.count_nonzero(apart) / apart.size:.1f} % of the values differ, by {apart.max()} at most")
    assert apart.max() <= 1
    expected, got = np.load(here), np.load(board.path(f"{place}-theirs.npz"))
    assert all(np.array_equal(got[each], expected[each]) for each in expected.files)


def _outputs(*words: Path) -> None:
    subprocess.run([sys.executable, _HERE / "outputs.py", *words], cwd=ROOT, check=True, env=_paths())


def _inputs(model: Path) -> np.ndarray:
    """Drawn scenes as input tensors: ``(20, 1, h, w, 3)`` int8."""
    engine = Engine(model)
    write = Preprocessor(require_card(model).input, engine.inputs[0]).write
    tensors = np.empty((_IMAGES, *engine.inputs[0].shape), np.int8)
    for seed, tensor in enumerate(tensors):
        write(Frame(draw_scene(seed).pixels), tensor)
    return tensors


def _as_core(board: Board, core: str, command: str) -> None:
    """Runs a command as another core would: QEMU's and, over ``/proc/cpuinfo``, what libraries look at."""
    board.run(f"cat > /tmp/{core}.cpuinfo <<'END'\n{CORES[core].cpuinfo()}END", user="root")
    mounted = f"mount --bind /tmp/{core}.cpuinfo /proc/cpuinfo && QEMU_CPU={core} {command}"
    board.run(f"unshare --mount sh -c '{mounted}'", user="root", timeout=300)


def _paths() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
