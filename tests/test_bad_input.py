"""Every program, every kind of bad input: one error line, status 2, no traceback, nothing half-written."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from apps.live import main as live
from convert.cli import main as convert
from runtime.cli import main as runtime
from runtime.commandline import run
from tests.conftest import picture, run_module
from tests.convert.annotated import Photo, write_picture, write_voc
from tests.foreign_nets import ForeignNet
from tests.nets import tiny_detector

PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {"runtime": runtime, "convert": convert, "apps.live": live}

# Program, arguments, and what the line must contain. {m} is a good model, {d} the folder the test made.
CASES: list[tuple[str, str, str]] = [
    ("runtime", "", "required: COMMAND"),
    ("runtime", "fly", "invalid choice: 'fly'"),
    ("runtime", "detect {m}", "required: INPUT"),
    ("runtime", "detect {m} {d}/photo.png --colour red", "unrecognized arguments: --colour red"),
    ("runtime", "detect {m} {d}/photo.png --score 1.5", "1.5 is not a number in 0..1"),
    ("runtime", "detect {m} {d}/photo.png --score high", "invalid fraction value: 'high'"),
    ("runtime", "detect {m} {d}/photo.png --threads 0", "0 is not a whole number of at least 1"),
    ("runtime", "detect {d}/missing.tflite {d}/photo.png", "missing.tflite: no such file"),
    ("runtime", "detect {d}/empty.tflite {d}/photo.png", "empty.tflite is empty"),
    ("runtime", "detect {d}/text.tflite {d}/photo.png", "text.tflite is not a TensorFlow Lite file"),
    ("runtime", "detect {d}/cut.tflite {d}/photo.png", "cut.tflite"),
    ("runtime", "detect {d}/tail.tflite {d}/photo.png", "tail.tflite"),
    ("runtime", "detect {d} {d}/photo.png", "is a folder"),
    ("runtime", "detect {m} {d}/missing.png", "missing.png: no such file"),
    ("runtime", "detect {m} {d}/empty.png", "empty.png is empty"),
    ("runtime", "detect {m} {d}/text.png", "text.png is not a complete image"),
    ("runtime", "detect {m} {d}/half.png --json", "half.png is not a complete image"),
    ("runtime", "detect {m} {d}/text.mp4", "text.mp4 is not a video"),
    ("runtime", "detect {m} {d}/void", "void holds no images"),
    ("runtime", "detect {m} 99", "no camera at /dev/video99"),
    ("runtime", "detect {m} {d}/photo.png --output {d}/no/out.mp4", "no such folder"),
    ("runtime", "detect {m} {d}/photo.png --output /proc/out.mp4", "cannot be written"),
    ("runtime", "detect {m} {d}/photo.png --output {d}/photo.png/x", "cannot be made"),
    ("runtime", "detect {m} {d}/photo.png --labels {d}/missing.txt", "missing.txt: no such file"),
    ("runtime", "detect {m} {d}/photo.png --labels {d}/two.txt", "two.txt has 2 names; the model has 3 classes"),
    ("runtime", "detect {d}/strange.tflite {d}/photo.png", "outputs 'strange' float32 (1, 7, 7); expected TFLite_Det"),
    ("runtime", "detect {d}/birds.tflite {d}/photo.png", "is a classifier; expected a detector; use it with python -m"),
    ("runtime", "classify", "required: MODEL, INPUT"),
    (
        "runtime",
        "classify {m} {d}/photo.png",
        "is a detector; expected a classifier; use it with python -m runti",
    ),
    ("runtime", "classify {d}/birds.tflite {d}/missing.png", "missing.png: no such file"),
    ("runtime", "classify {d}/birds.tflite {d}/text.png", "text.png is not a complete image"),
    ("runtime", "classify {d}/birds.tflite {d}/photo.png --top 0", "0 is not a whole number of at least 1"),
    ("runtime", "classify {d}/birds.tflite {d}/photo.png --labels {d}/missing.txt", "missing.txt: no such file"),
    ("runtime", "classify {d}/birds.tflite {d}/photo.png --labels {d}/two.txt", "two.txt has 2 names; the model has 5"),
    ("runtime", "classify {d}/strange.tflite {d}/photo.png", "is no layout this version knows"),
    ("runtime", "classify {d}/missing.tflite {d}/photo.png", "missing.tflite: no such file"),
    ("runtime", "info {d}/text.tflite", "is not a TensorFlow Lite file"),
    ("runtime", "info {d}/cut.tflite", "cut.tflite"),
    ("runtime", "bench {d}/missing.tflite", "no such file"),
    ("runtime", "bench {m} --threads 1,x", "invalid counts value: '1,x'"),
    ("runtime", "bench {m} --runs 0", "0 is not a whole number"),
    ("apps.live", "", "MODEL is not given"),
    ("apps.live", "{d}/missing.tflite {d}/photo.png", "no such file"),
    ("apps.live", "{d}/birds.tflite {d}/photo.png", "is a classifier; expected a detector"),
    ("apps.live", "{m} {d}/missing.mp4", "missing.mp4: no such file"),
    ("apps.live", "{m} {d}/text.mp4 {d}/out.mp4", "text.mp4 is not a video"),
    ("apps.live", "{m} {d}/photo.png display://left", "display://left is not a screen; expected display://0"),
    ("apps.live", "{m} {d}/photo.png http://256.1.1.1:80", "cannot serve on 256.1.1.1"),
    ("apps.live", "{m} {d}/photo.png http://127.0.0.1:99999", "is not an address to serve"),
    ("apps.live", "{m} {d}/photo.png http://127.0.0.1/path", "is not an address to serve"),
    ("apps.live", "{m} {d}/photo.png {d}/no/out.mp4", "no such folder"),
    ("apps.live", "{m} {d}/photo.png --loop --seconds never", "--seconds is 'never'; expected a number"),
    ("convert", "", "required: COMMAND"),
    ("convert", "build nothing", "no recipe 'nothing'"),
    ("convert", "build {d}/text.toml", "is not TOML"),
    ("convert", "build", "required: RECIPE"),
    ("convert", "build yolo-fastest-1.1 --out {d}/photo.png/x", "cannot be made"),
    ("convert", "train", "required: RECIPE"),
    ("convert", "train nothing", "no recipe 'nothing'"),
    ("convert", "train yolo-fastest-1.1", "has no [train] section"),
    ("convert", "train objects", "names no pictures"),
    ("convert", "train objects --data {d}/missing", "missing: no such folder"),
    ("convert", "train objects --data {d}/void", "has no annotations"),
    ("convert", "train objects --data {d}/void --steps 0", "0 is not a whole number of at least 1"),
    ("convert", "show", "required: MODEL"),
    ("convert", "show {d}/text.tflite", "text.tflite is not a TensorFlow Lite file"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite", "required: --calibration"),
    ("convert", "quantize {d}/missing.cfg -o {d}/out.tflite --calibration {d}", "missing.cfg: no such file"),
    ("convert", "quantize {d}/empty.cfg -o {d}/out.tflite --calibration {d}/photos", "empty.cfg is empty"),
    ("convert", "quantize {d}/binary.cfg -o {d}/out.tflite --calibration {d}/photos", "binary.cfg is not text"),
    ("convert", "quantize {d}/model.onnx -o {d}/out.tflite --calibration {d}/photos", "is not a network this version"),
    ("convert", "quantize {d}/short.cfg -o {d}/out.tflite --calibration {d}/photos", "too short for this network"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/void", "void holds no images"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/missing", "missing: no such folder"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/bad-photos", "is not a complete image"),
    ("convert", "quantize {d}/net.cfg -o {d}/no/out.tflite --calibration {d}/photos", "no such folder"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.bin --calibration {d}/photos", "does not end in .tflite"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/photos --input-size 60", "[yolo]"),
    (
        "convert",
        "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/photos --input-size 96xa",
        "96xa is neither N",
    ),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/photos --weights {d}/no", "no: no such file"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/photos --labels {d}/two.txt", "has 2 names"),
    ("convert", "quantize {d}/net.cfg -o {d}/out.tflite --calibration {d}/photos --data {d}/void", "no annotations"),
    ("convert", "evaluate {m}", "required: --data"),
    ("convert", "evaluate {m} --data {d}/missing", "no such folder"),
    ("convert", "evaluate {m} --data {d}/photos", "no annotations in a known layout"),
    (
        "convert",
        "evaluate {m} --data {d}/voc --strict",
        "(1 box outside), first {d}/voc/b.xml:4: box outside",
    ),
    ("convert", "evaluate {m} --data {d}/voc-bad", "has 1 images and none can be used: 1 problem (1 malformed), first"),
    ("convert", "evaluate {m} --data {d}/coco-bad", "annotations.json:1: malformed"),
    ("convert", "quantize {d}/net.cfg -o {d}/o.tflite --calibration {d}/photos --data {d}/voc --strict", "b.xml:4"),
    ("convert", "evaluate nothing --data {d}/set", "no recipe 'nothing'"),
    ("convert", "evaluate yolo-fastest-1.1 --data {d}/set", "is darknet; expected one whose network is trained here"),
    (
        "convert",
        "evaluate {d}/birds.tflite --data {d}/photos",
        "a.png; expected one folder per class, or",
    ),
    ("convert", "evaluate {d}/birds.tflite --data {d}/void", "void holds no images"),
    ("convert", "evaluate {d}/birds.tflite --data {d}/missing", "missing: no such folder"),
    ("convert", "evaluate {d}/strange.tflite --data {d}/set", "is no layout this version knows"),
    ("convert", "evaluate {d}/text.tflite --data {d}/set", "is not a TensorFlow Lite file"),
    ("convert", "evaluate {m} --data {d}/set --reference {d}/short.cfg", "too short for this network"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("bad")
    data = tiny_model.read_bytes()
    (folder / "cut.tflite").write_bytes(data[: len(data) // 2])
    (folder / "tail.tflite").write_bytes(data[:-40])
    for name in ("text.tflite", "text.png", "text.mp4", "text.toml", "model.onnx"):
        (folder / name).write_text("this is a text, whatever its name says\n" * 30)
    for name in ("empty.tflite", "empty.png", "empty.cfg"):
        (folder / name).touch()
    (folder / "binary.cfg").write_bytes(bytes(range(256)))
    (folder / "two.txt").write_text("one\ntwo\n")
    for name in ("void", "photos", "bad-photos", "set/images", "set/labels"):
        (folder / name).mkdir(parents=True)
    for name in ("photo.png", "photos/a.png", "set/images/a.png"):
        cv2.imwrite(str(folder / name), picture(1, 60, 50))
    (folder / "set" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    write_voc(folder / "voc", (Photo("a"), Photo("b", (("robin", (50.0, 0.0, 90.0, 10.0)),))))
    write_voc(folder / "voc-bad", (Photo("a"),))
    (folder / "voc-bad" / "a.xml").write_text("<annotation>")
    write_picture(folder / "coco-bad" / "a.png")
    (folder / "coco-bad" / "annotations.json").write_text("{")
    png = (folder / "photo.png").read_bytes()
    for name in ("half.png", "bad-photos/a.png"):
        (folder / name).write_bytes(png[: len(png) // 2])
    for name, shape in (("strange", (1, 7, 7)), ("birds", (1, 5))):
        net = ForeignNet((32, 32))
        net.output(name, np.zeros(shape, np.float32))
        net.write(folder / f"{name}.tflite")
    tiny_detector().write(folder, "net")
    tiny_detector().write(folder, "short")
    weights = folder / "short.weights"
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*")}


@pytest.mark.parametrize(("program", "arguments", "expected"), CASES, ids=[f"{p} {a}" for p, a, _ in CASES])
def test_one_line_and_status_2(
    program: str, arguments: str, expected: str, folder: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(folder)
    argv = arguments.format(m=tiny_model, d=folder).split()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = run(PROGRAMS[program], argv)
    error = capfd.readouterr().err
    assert status == 2, error
    assert error.startswith("error: ")
    assert expected.replace("{d}", str(folder)) in error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert output.getvalue() == "" or "quantising" in output.getvalue()
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("runtime", ["detect", "missing.tflite", "x.png"]),
        ("convert", ["quantize", "missing.cfg", "-o", "out.tflite", "--calibration", "missing"]),
        ("apps.live", ["missing.tflite", "x.png"]),
    ],
)
def test_as_a_process(program: str, arguments: list[str]) -> None:
    done = run_module(program, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: missing.")
    assert done.stderr.count("\n") == 1


def test_read_only_folder(tiny_model: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root may write anywhere but on a read-only file system.
        place = Path("/sys/out.mp4")
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        place = tmp_path / "closed" / "out.mp4"
    cv2.imwrite(str(tmp_path / "photo.png"), picture(1, 60, 50))
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        assert run(live, [str(tiny_model), str(tmp_path / "photo.png"), str(place)]) == 2
    assert "cannot be written" in error.getvalue()


def test_help_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    for program in PROGRAMS.values():
        with pytest.raises(SystemExit) as caught:
            program(["--help"])
        assert caught.value.code == 0
        assert "usage:" in capsys.readouterr().out


def test_missing_package_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def program(argv: Sequence[str]) -> int:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    assert run(program, []) == 1
    assert "sudo apt install libgl1" in capsys.readouterr().err

    for name in ("tensorflow", "tomli_w"):

        def other(argv: Sequence[str], name: str = name) -> int:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

        assert run(other, []) == 1
        assert "pip install 'edgewren[convert]'" in capsys.readouterr().err


def test_names_that_are_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Linux allows any bytes; Python hands them on as lone surrogates, which no text file takes."""
    assert run(convert, ["evaluate", str(tmp_path / "b\udcff.tflite"), "--data", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line.endswith("b\\udcff.tflite' is not UTF-8; expected names in UTF-8; rename the file\n")

    def program(argv: Sequence[str]) -> int:
        print("a\u00e9\udcff")
        "b\udcff".encode()
        return 0

    terminal = io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True)
    with contextlib.redirect_stdout(terminal):
        assert run(program, []) == 2
    terminal.seek(0)
    assert terminal.buffer.read() == b"a\\xe9\\udcff\n"
    assert capsys.readouterr().err == "error: 'b\\udcff' is not UTF-8; expected names in UTF-8; rename it\n"
