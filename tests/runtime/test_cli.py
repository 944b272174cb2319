"""``python -m runtime``: what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.card import Accuracy, InputSpec, ModelCard
from runtime.cli import main
from runtime.cli.info import _print_card
from runtime.engine import TensorSpec
from runtime.preprocess import pixel_table
from runtime.sources import frames, open_source
from tests.conftest import ROOT, needs_shared, picture, run_module
from tests.runtime.test_card import make_card


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), picture(3, 160, 120))
    return path


def test_detect_json(tiny_model: Path, photo: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "other.jpg"), picture(4, 90, 120))
    done = run_module("runtime", "detect", tiny_model, photo, tmp_path / "other.jpg", "--json", "--score", "0.05")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["source"], line["frame"], line["width"], line["height"]) for line in lines] == [
        (str(photo), 0, 160, 120),
        (str(tmp_path / "other.jpg"), 0, 90, 120),
    ]
    assert lines[0]["detections"]
    for line in lines:
        assert set(line) == {"source", "frame", "width", "height", "detections", "ms"}
        assert set(line["ms"]) == {"preprocess", "inference", "postprocess"}
        for found in line["detections"]:
            assert set(found) == {"label", "class_id", "score", "box"}
            assert found["label"] == ("wren", "robin", "finch")[found["class_id"]]
            assert 0.05 <= found["score"] <= 1
            x1, y1, x2, y2 = found["box"]
            assert 0 <= x1 < x2 <= line["width"]
            assert 0 <= y1 < y2 <= line["height"]


def test_file_names_that_are_no_text(tiny_model: Path, photo: Path, tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"b\xffd.png")
    named.write_bytes(photo.read_bytes())
    outputs = ["--json", "--output", f"json://{tmp_path}/x"]
    command = [sys.executable, "-m", "runtime", "detect", str(tiny_model), str(named), *outputs]
    for encoding in ("utf-8:strict", "utf-8:surrogateescape"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, check=True)
        for text in (done.stdout, (tmp_path / "x").read_bytes()):
            assert json.loads(text.decode())["source"] == str(named)


def test_full_disk(tiny_model: Path, photo: Path) -> None:
    done = run_module("runtime", "detect", tiny_model, photo, "--output", "json:///dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: /dev/full cannot be written (No space left on device); free disk space and retry\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_an_interrupted_video_is_completed(number: int, tiny_model: Path, tmp_path: Path) -> None:
    """``timeout 10 python -m runtime detect MODEL 0 --output out.mp4`` must leave ten seconds of video."""
    outputs = ["--json", "--output", str(tmp_path / "out.mp4")]
    command = [sys.executable, "-m", "runtime", "detect", str(tiny_model), "synthetic://cards?fps=0", *outputs]
    # What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, preexec_fn=heeding) as running:
        try:
            assert running.stdout
            for _ in range(5):
                running.stdout.readline()
            running.send_signal(number)
            assert running.communicate(timeout=120)[1] == b""
        finally:
            running.kill()
    assert running.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert len(list(frames(open_source(str(tmp_path / "out.mp4"))))) >= 4  # The fifth may be the interrupted one.


@needs_shared
def test_closed_stderr(shared: Path, photo: Path) -> None:
    """What a file from elsewhere does not say is told on stderr, and must not end up between the JSON lines."""
    model = shared / "zoo" / "ssd-mobilenet-v1-coco" / "detect.tflite"
    command = f"exec {sys.executable} -m runtime detect {model} {photo} {photo} --json"
    for closed in ("2>&-", "<&- 2>&-"):
        done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True, cwd=ROOT, check=True)
        assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == [str(photo)] * 2


def test_detect_for_people_with_labels_and_outputs(
    tiny_model: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "other.names"
    labels.write_text("eins\nzwei\ndrei\n")
    outputs = ["--output", str(tmp_path / "out.png"), "--output", f"json://{tmp_path / 'out.jsonl'}"]
    assert main(["detect", str(tiny_model), str(photo), "--score", "0.05", "--labels", str(labels), *outputs]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{photo} frame 0, 160x120: ")
    assert any(name in text for name in ("eins", "zwei", "drei"))
    drawn = cv2.imread(str(tmp_path / "out.png"))
    assert drawn is not None
    assert not np.array_equal(drawn, picture(3, 160, 120))
    assert json.loads((tmp_path / "out.jsonl").read_text())["detections"][0]["label"] in ("eins", "zwei", "drei")


def test_soft_suppression_from_the_command_line(
    tiny_model: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts, scores = [], []
    for flags in ([], ["--soft-nms"]):
        assert main(["detect", str(tiny_model), str(photo), "--score", "0.05", "--json", *flags]) == 0
        found = json.loads(capsys.readouterr().out)["detections"]
        counts.append(len(found))
        scores.append([one["score"] for one in found])
    # A box that goes makes room for the next; one that is lowered stays.
    assert counts[1] >= counts[0]
    assert scores[0] != scores[1]
    assert scores[0][0] == scores[1][0]
    assert scores[1] == sorted(scores[1], reverse=True)


def test_score_decides_what_is_reported(tiny_model: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for score in ("0.02", "0.2", "1"):
        main(["detect", str(tiny_model), str(photo), "--json", "--score", score])
        counts.append(len(json.loads(capsys.readouterr().out)["detections"]))
    assert counts[0] > counts[1] > counts[2] == 0


def test_info(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", str(tiny_model), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert list(facts) == [
        *("file", "bytes", "sha256", "provider", "inputs", "outputs"),
        *("ops", "delegated", "total", "partitions", "card"),
    ]
    assert facts["bytes"] == tiny_model.stat().st_size
    assert facts["delegated"] == facts["total"] == len(facts["ops"])
    assert facts["partitions"] == 1
    assert facts["card"]["delegation"] == {"delegated": facts["total"], "total": facts["total"], "partitions": 1}
    assert set(facts["ops"][0]) == {"index", "name", "delegated", "reason"}
    main(["info", str(tiny_model)])
    text = capsys.readouterr().out
    assert f"XNNPACK runs {facts['total']} of {facts['total']} ops in 1 partition(s)" in text
    assert "card: tiny, detect, 3 classes, decoder yolo" in text


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        ((1 / 127.5,), (-1.0,)),
        ((1 / 58.395, 1 / 57.12, 1 / 57.375), (-2.118, -2.036, -1.804)),
        ((1.0,), (-103.9, -116.8, -123.7)),
    ],
)
def test_info_gives_the_range_of_what_is_fed(
    scale: tuple[float, ...], offset: tuple[float, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of networks whose channels differ no channel's scale goes with another's offset."""
    spec = InputSpec("image", 64, 48, scale=scale, offset=offset)
    fed = pixel_table(spec, TensorSpec("image", (1, 48, 64, 3), np.dtype(np.float32)))
    _print_card(make_card(input=spec).to_dict())
    assert f"real numbers {fed.min():.3g}..{fed.max():.3g}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("float_ap", "int8_ap"), [(40.0, None), (None, 39.0), (None, None)])
def test_info_of_a_card_without_all_accuracies(
    float_ap: float | None, int8_ap: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Accuracy("val", 64, float_ap, float_ap, int8_ap, int8_ap, 95.0)
    card = ModelCard.from_json(make_card(accuracy=(row,)).to_json())
    _print_card(card.to_dict())
    assert capsys.readouterr().out.endswith("  agreement F1 95.0 % with float on 64 images of val\n")


def test_bench(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", str(tiny_model), "--threads", "1,2", "--runs", "20", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [(row["threads"], row["runs"]) for row in rows] == [(1, 20), (2, 20)]
    for row in rows:
        for key in ("inference_ms", "end_to_end_ms"):
            assert 0 < row[key]["min"] <= row[key]["median"] <= row[key]["p95"]
        assert row["end_to_end_ms"]["median"] > row["preprocess_ms"]["median"] + row["postprocess_ms"]["median"]
        assert 20 < row["peak_rss_mb"] < 4000
        assert row["provider"].startswith("litert")
        assert "throttled" in row
    main(["bench", str(tiny_model), "--runs", "5"])
    assert "5 interleaved rounds" in capsys.readouterr().out


def test_doctor() -> None:
    done = run_module("runtime", "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert set(checks) == {
        *("python", "interpreter", "wheel", "xnnpack", "threads", "opencv", "processor", "memory", "disk"),
        *("camera", "permissions", "csi camera", "heat", "power"),
    }
    for check in checks.values():
        assert set(check) == {"name", "ok", "detail", "fix"}
        assert check["ok"] == (not check["fix"])
    assert checks["interpreter"]["ok"], checks["interpreter"]
    assert checks["xnnpack"]["ok"]
    assert done.returncode == (0 if all(check["ok"] for check in checks.values()) else 1)
