"""``convert evaluate`` as its users and their programs see it: annotated pictures, plain ones, neither."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from convert.cli import main
from convert.data import is_plain, open_plain
from runtime.commandline import run
from runtime.detector import Detector
from runtime.errors import InputError
from runtime.sources.images import list_images, read_image
from tests.conftest import picture
from tests.convert.annotated import PHOTOS, WRITERS, write_picture
from tests.nets import tiny_detector

SCORE = {"map50", "map50_95", "map75", "voc_ap_11", "voc_ap_all", "by_size", "per_class", "objects", "detections"}


@pytest.fixture(scope="module")
def labelled(photos: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made pictures whose truth is the most certain half of what the model itself finds."""
    folder = tmp_path_factory.mktemp("set")
    shutil.copytree(photos, folder / "images")
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("wren\nrobin\nfinch\n")
    with Detector.open(tiny_model, score=0.25) as detector:
        for path in list_images(folder / "images"):
            frame = read_image(path)
            found = detector.detect(frame)
            lines = []
            for class_id, box in list(zip(found.class_ids, found.boxes, strict=True))[: 1 + len(found) // 2]:
                x1, y1, x2, y2 = box / [frame.width, frame.height, frame.width, frame.height]
                if x2 - x1 > 0.02 and y2 - y1 > 0.02:
                    lines.append(f"{class_id} {(x1 + x2) / 2:.7f} {(y1 + y2) / 2:.7f} {x2 - x1:.7f} {y2 - y1:.7f}")
            (folder / "labels" / f"{path.stem}.txt").write_text("\n".join(lines))
    return folder


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["evaluate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def facts_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(evaluate(capsys, *arguments, "--json"))
    return facts


@pytest.mark.parametrize("flag", [("--resize", "letterbox"), ("--weights", "tiny.weights")])
def test_flag_of_float_networks_is_not_ignored(flag: tuple[str, str], tiny_model: Path, photos: Path) -> None:
    with pytest.raises(InputError, match=f"{flag[0]} with .*a .tflite file has this in it already"):
        main(["evaluate", str(tiny_model), "--data", str(photos), "--reference", str(tiny_model), *flag])


def test_json_beside_a_reference(
    labelled: Path, tiny_model: Path, tiny_cfg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = facts_of(capsys, tiny_model, "--data", labelled, "--reference", tiny_cfg)
    assert facts.keys() >= SCORE
    assert facts["reference"].keys() >= SCORE
    assert (facts["images"], facts["unlabelled_images"], facts["skipped_images"], facts["voc_iou"]) == (8, 0, 0, 0.5)
    assert 50 < facts["map50_95"] <= facts["map50"] <= 100
    assert sum(one["objects"] for one in facts["per_class"].values()) == facts["objects"]
    assert facts["per_class"].keys() <= {"wren", "robin", "finch"}
    mean = sum(one["ap50"] for one in facts["per_class"].values()) / len(facts["per_class"])
    assert facts["map50"] == pytest.approx(mean, abs=0.02)
    assert list(facts["by_size"]) == ["small", "medium", "large"]
    for name in ("map50", "map50_95"):
        difference = facts["difference"][name]
        assert difference["points"] == pytest.approx(facts[name] - facts["reference"][name], abs=0.02)
        low, high = difference["interval"]
        assert low <= high
    low, high = facts["agreement_interval"]
    assert 0 <= low <= facts["agreement_f1"] <= high <= 100
    assert abs(facts["score_difference"]) < 0.2


def test_weights_are_the_models_and_not_its_references(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network with other weights, beside itself as it was."""
    cfg = tiny_detector(seed=1).write(tmp_path, "net")
    other = tiny_detector(seed=2).write(tmp_path, "other").with_suffix(".weights")
    facts = facts_of(capsys, cfg, "--weights", other, "--data", photos, "--reference", cfg)
    assert facts["agreement_f1"] < 50


def test_json_of_one_network(labelled: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(capsys, tiny_model, "--data", labelled)
    assert facts.keys() >= SCORE
    assert not {"agreement_f1", "agreement_interval", "difference", "reference"} & facts.keys()


def test_overlap_for_voc(labelled: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Overlaps of 1 do not survive the decimals of the labels; COCO's thresholds are its own."""
    loose, strict = (facts_of(capsys, tiny_model, "--data", labelled, "--iou", iou) for iou in (0.5, 1))
    assert strict["voc_iou"] == 1
    assert strict["voc_ap_all"] < loose["voc_ap_all"]
    assert strict["map50"] == loose["map50"]


def test_plain_pictures_beside_a_reference(
    photos: Path, labelled: Path, tiny_model: Path, tiny_cfg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = facts_of(capsys, tiny_model, "--data", photos, "--reference", tiny_cfg)
    same = facts_of(capsys, tiny_model, "--data", labelled, "--reference", tiny_cfg)
    assert plain["images"] == 8
    for name in ("agreement_f1", "agreement_interval", "score_difference", "detections"):
        assert plain[name] == same[name], name
    assert plain["detections"] > 0
    for name in ("map50", "map50_95", "map75", "voc_ap_11", "voc_ap_all"):
        assert plain[name] is None
        assert plain["reference"][name] is None
    assert plain["by_size"] == {"small": None, "medium": None, "large": None}
    assert plain["per_class"] == {}
    assert plain["difference"]["map50"] == {"points": None, "interval": None}


def test_for_people(
    photos: Path, labelled: Path, tiny_model: Path, tiny_cfg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = evaluate(capsys, tiny_model, "--data", labelled, "--reference", tiny_cfg)
    for part in ("AP50-95", "small", "VOC 11", "difference", "95 % interval", "agreement F1"):
        assert part in text
    assert "wren" not in text
    assert "wren" in evaluate(capsys, tiny_model, "--data", labelled, "--per-class")
    text = evaluate(capsys, tiny_model, "--data", photos, "--reference", tiny_cfg, "--per-class")
    assert "without annotations" in text
    assert "agreement F1" in text
    assert "AP50" not in text


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ("", "no annotations in a known layout; expected COCO, Pascal VOC or YOLO labels, or a network"),
        ("--iou 0", "0 is not an overlap above 0"),
        ("--iou 1.5", "1.5 is not a number in 0..1"),
        ("--iou most", "--iou: invalid overlap value: 'most'"),
    ],
)
def test_bad_use(photos: Path, tiny_model: Path, extra: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["evaluate", str(tiny_model), "--data", str(photos), *extra.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert line in error


def test_remedy_for_plain_pictures(photos: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["evaluate", str(tiny_model), "--data", str(photos)]) == 2
    assert "give --reference FLOAT, or add annotations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "plain"),
    [
        (["a.png"], True),
        (["deep/a.png", "deep/er/b.png"], True),
        (["a.png", "README.txt", "LICENSE", ".hidden.json", "notes.md"], True),
        ([], False),
        (["README.txt"], False),
        # Half of an annotated folder, or an annotated folder of another kind.
        (["a.png", "b.xml"], False),
        (["a.png", "labels.csv"], False),
        (["a.png", "deep/things.json"], False),
        (["images/a.png", "classes.txt"], False),
        (["images/a.png", "labels/other.txt"], False),
        (["images/a.png", "labels/readme.md"], False),
        (["images/a.png", "images/a.txt"], False),
        (["a.png", "a.txt"], False),
        (["a.png", "data.yaml"], False),
        (["a.png", "birds.names"], False),
    ],
)
def test_plain_means_no_trace_of_annotations(files: list[str], plain: bool, tmp_path: Path) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            write_picture(path)
        else:
            path.write_text("x\n")
    assert is_plain(tmp_path) is plain


@pytest.mark.parametrize("kind", WRITERS)
def test_annotated_is_not_plain(kind: str, tmp_path: Path) -> None:
    assert not is_plain(WRITERS[kind](tmp_path, PHOTOS))


def test_lost_labels_are_an_error_beside_a_reference_too(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / "classes.txt").write_text("wren\n")
    arguments = ["evaluate", str(tiny_model), "--data", str(tmp_path), "--reference", str(tiny_model)]
    assert run(main, arguments) == 2
    assert "has no annotations in a known layout" in capsys.readouterr().err


def test_broken_plain_pictures_are_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), picture(0))
    (tmp_path / "half.jpg").write_bytes(b"\xff\xd8 no more")
    dataset = open_plain(tmp_path, strict=False)
    assert ([truth.path.name for truth in dataset.truths], dataset.skipped) == (["good.png"], 1)
    error = capsys.readouterr().err
    assert "half.jpg: broken image" in error
    assert "background" not in error
    with pytest.raises(InputError, match="is refused"):
        open_plain(tmp_path, strict=True)


def test_good_plain_pictures_need_no_words(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(open_plain(photos, strict=True).truths) == 8
    assert capsys.readouterr().err == ""
