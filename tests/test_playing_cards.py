"""The shipped detector: what the project promises of it, by the commands a user types."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from convert.recipe import load_recipe, weights_file
from convert.train.record import record_file
from runtime.detector import Detector
from runtime.modelfile import require_card
from runtime.nms import iou_matrix
from runtime.scenes import CardMotion
from tests.apps.browser import Visit, browser
from tests.apps.card_video import FRAMES, RANK, offset, write_video
from tests.apps.overlay import look
from tests.conftest import ROOT, needs_shared, run_module
from tests.waiting import Patience

__all__ = ["browser"]  # a fixture

NAME = "playing-cards"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The model file, built without mirror or network."""
    out = tmp_path_factory.mktemp("cards") / "models"
    done = run_module("convert", "build", NAME, "--out", out, timeout=900)
    assert done.returncode == 0, done.stderr
    return out / f"{NAME}.tflite", done


@pytest.fixture(scope="module")
def model(built: tuple[Path, object]) -> Path:
    return built[0]


def test_accuracy_on_drawn_scenes(model: Path) -> None:
    accuracy = require_card(model).accuracy[0]
    assert accuracy.images == 200
    assert accuracy.float_map50 is not None
    assert accuracy.int8_map50 is not None
    assert accuracy.int8_map50 >= 90
    assert accuracy.float_map50 - accuracy.int8_map50 <= 1


def test_small_and_whole(model: Path) -> None:
    assert model.stat().st_size <= 1_500_000
    card = require_card(model)
    assert card.macs is not None
    assert card.macs <= 150e6
    facts = json.loads(run_module("runtime", "info", model, "--json").stdout)
    assert [op for op in facts["ops"] if not op["delegated"]] == []
    assert facts["partitions"] == 1


def test_card_says_what_it_was_made_from(model: Path) -> None:
    card = require_card(model)
    record = json.loads(record_file(weights_file(load_recipe(NAME))).read_text())
    assert card.source.licence == "Apache-2.0"
    assert list(card.source.provenance) == record["provenance"]
    text = "\n".join(card.source.provenance)
    for words in ("photographs" if "photographs" in text else "images", "Apache-2.0", "MIT", "generated scenes"):
        assert words in text


def test_record_belongs_to_the_weights() -> None:
    weights = weights_file(load_recipe(NAME))
    record = json.loads(record_file(weights).read_text())
    assert record["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["command"].startswith(f"python -m convert train {NAME}")
    assert weights.stat().st_size < 3_000_000


def test_live_demo_writes_video_and_contact_sheet(model: Path, tmp_path: Path) -> None:
    video, sheet = tmp_path / "demo.mp4", tmp_path / "demo.png"
    done = run_module("apps.live", model, "synthetic://cards", video, sheet, "--seconds", 3, timeout=120)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(sheet)) is not None
    capture = cv2.VideoCapture(str(video))
    assert 10 <= capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 100  # 30 a second where the machine has time


def test_cards_in_the_moving_scene_are_found_and_named(model: Path) -> None:
    """Every second for a minute: what the page would show, against what was drawn."""
    motion, found, right, drawn = CardMotion(5, 640, 480), 0, 0, 0
    with Detector.open(model, threads=1) as detector:
        for second in range(60):
            scene = motion.at(float(second))
            result = detector.detect(scene.pixels)
            drawn += len(scene.boxes)
            if len(result) and len(scene.boxes):
                overlap = iou_matrix(scene.boxes, result.boxes)
                best = overlap.argmax(axis=1)
                hit = overlap.max(axis=1) >= 0.5
                found += int(hit.sum())
                right += int((result.class_ids[best] == scene.class_ids)[hit].sum())
    assert drawn > 100
    assert found >= 0.9 * drawn
    assert right >= 0.9 * found


@needs_shared
def test_accuracy_on_photographs(model: Path, shared: Path) -> None:
    """34 photographs that took no part in training, int8 as shipped."""
    done = run_module("convert", "evaluate", model, "--data", shared / "data" / "cards" / "test", "--json")
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["images"] == 34
    assert facts["map50"] >= 96
    assert facts["map50_95"] >= 75


@needs_shared
def test_every_layer_was_trained(shared: Path) -> None:
    """No layer still holds the values it was imported with."""
    import keras

    from convert.models.mobilenet_v2 import mobilenet_v2
    from convert.train.weights import adopt_weights

    image = keras.Input((96, 96, 3))
    backbone = keras.Model(image, mobilenet_v2(image, 0.35, top=False)["block_16_project_BN"])
    imported = adopt_weights(backbone, shared / "zoo" / "mobilenetv2-0.35-imagenet" / "keras_model.h5")
    with np.load(weights_file(load_recipe(NAME))) as shipped:
        for name in imported:
            for variable in backbone.get_layer(name).weights:
                before = keras.ops.convert_to_numpy(variable)
                assert not np.array_equal(before, shipped[f"{name}/{variable.name}"]), f"{name}/{variable.name}"


def test_readme_shows_figures_of_the_record() -> None:
    """The accuracy a reader is promised is the one that was measured."""
    record = json.loads(record_file(weights_file(load_recipe(NAME))).read_text())
    text = (ROOT / "docs" / "training.md").read_text()
    for key, value in record["float_accuracy"].items():
        if "cards/test" in key:
            assert f"{value:.1f}" in text, key


@contextlib.contextmanager
def live_page(browser: Any, *arguments: object) -> Iterator[Visit]:
    """The live app as a process, and a visit of its page."""
    command = [sys.executable, "-m", "apps.live", *map(str, arguments), "http://127.0.0.1:0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stderr
        visit = Visit(browser, process.stderr.readline().split("live page: ")[1].split()[0])
        yield visit
        assert visit.complaints == []
        visit.close()
    finally:
        process.terminate()
        process.communicate(timeout=20)


FACTS = "import('/state.js').then(({state}) => state.facts)"


def nearest(box: Any, boxes: Any) -> Any:
    """Distance of each side to that of the box which overlaps it most, ``(4,)`` pixels."""
    overlap = iou_matrix(np.array([box], np.float32), boxes)[0]
    return np.abs(boxes[overlap.argmax()] - box)


def test_the_live_page_draws_the_boxes_of_the_frame_it_shows(model: Path, browser: Any) -> None:
    """The whole way: scene, network, tracking, server, browser; the truth is drawn again from the frame's number."""
    truth, off_detector, off_truth = CardMotion(0, 640, 480), list[float](), list[float]()
    looked, hidden = set[int](), 0
    with live_page(browser, model, "synthetic://cards?fps=0") as visit, Detector.open(model, threads=1) as detector:
        patience = Patience(50)
        while len(off_truth) < 100 and patience.lasts():
            visit.page.wait_for_timeout(100)
            shown = look(visit.page)
            frame = shown.facts["frame"]
            if frame in looked:
                continue
            looked.add(frame)
            scenes = [truth.at((frame + step) / 30) for step in (0, -1, 1)]
            unlike = [float(cv2.absdiff(scene.pixels, shown.picture).mean()) for scene in scenes]
            assert unlike[0] < 0.9 * min(unlike[1:]), f"the picture is not that of frame {frame}"
            found = detector.detect(scenes[0].pixels)
            for one in shown.measurable():
                drawn = shown.drawn(one)
                if np.isnan(drawn).any():  # the name of another lies on a whole side
                    hidden += 1
                    continue
                off_detector.append(float(nearest(drawn, found.boxes).max()))
                off_truth.append(float(nearest(drawn, scenes[0].boxes).mean()))
    assert len(off_truth) >= 100
    print(f"{len(looked)} frames, {len(off_truth)} boxes: median {np.median(off_truth):.1f} pixels off the truth,")
    print(f"90th percentile {np.percentile(off_truth, 90):.1f}; most off the detector {max(off_detector):.2f}")
    assert hidden <= 10
    assert max(off_detector) <= 1
    # How well the network places a side of a card of 200 pixels; drawing adds nothing to it.
    assert float(np.median(off_truth)) <= 5


def test_a_line_drawn_in_the_page_counts_a_cards_crossings(model: Path, browser: Any, tmp_path: Path) -> None:
    write_video(tmp_path / "card.mp4")
    crossed = {True: 0, False: 0}  # towards the right, towards the left
    with live_page(browser, model, tmp_path / "card.mp4", "--loop") as visit:
        page = visit.page

        def side() -> float:
            return offset(page.evaluate(FACTS)["frame"] % FRAMES)

        def counts() -> list[int]:
            return [int(page.inner_text(f"[data-count={way}]")) for way in ("into", "out")]

        page.click("#add-line")
        page.mouse.click(*visit.at(0.5, 0.95))
        page.mouse.click(*visit.at(0.5, 0.05))
        visit.until(lambda: page.locator("[data-count=into]").is_visible())
        # However long drawing took, counting begins with the card far to the left and still on its way there.
        visit.until(lambda: page.evaluate(FACTS)["frame"] % FRAMES > 0.85 * FRAMES)
        before = counts()
        right, patience = False, Patience(30)
        # Twice each way, and then well away from the line.
        while (sum(crossed.values()) < 4 or abs(side()) < 150) and patience.lasts():
            page.wait_for_timeout(60)
            if abs(place := side()) > 40 and (place > 0) != right:
                right = place > 0
                crossed[right] += 1
        after = counts()
        assert [crossed[True], crossed[False]] == [2, 2]
        assert [now - then for now, then in zip(after, before, strict=True)] == [2, 2]
        assert page.inner_text("#counters .by-class") == f"{RANK} {after[0]} in, {after[1]} out"
