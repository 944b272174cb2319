"""Building a recipe: sources fetched, built once, built again when something changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from convert.build import build_key
from convert.cli import main as convert
from convert.recipe import Budget, load_recipe
from runtime.errors import InputError
from runtime.modelfile import require_card
from tests.convert.test_recipe import write_recipe


@pytest.fixture
def mirror(tmp_path: Path, tiny_cfg: Path, photos: Path) -> Path:
    """A mirror that holds the small detector."""
    folder = tmp_path / "mirror"
    (folder / "net").mkdir(parents=True)
    for suffix in (".cfg", ".weights", ".names"):
        shutil.copy(tiny_cfg.with_suffix(suffix), folder / "net")
    shutil.copytree(photos, folder / "set" / "images")
    return folder


def recipe_in(folder: Path, mirror: Path, **changes: object) -> Path:
    def pinned(name: str) -> dict[str, object]:
        data = (mirror / "net" / name).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        return {"path": f"net/{name}", "url": f"http://127.0.0.1:9/{name}", "sha256": digest, "bytes": len(data)}

    source = {
        "format": "darknet",
        "model": pinned("tiny.cfg"),
        "weights": pinned("tiny.weights"),
        "labels": pinned("tiny.names"),
    }
    pictures = sorted((mirror / "set" / "images").iterdir())
    pins = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in pictures]
    (folder / "pins.sha256").write_text("".join(pins))
    return write_recipe(folder, source=source, **changes)


def build(recipe: Path, out: Path, *arguments: object) -> None:
    assert convert(["build", str(recipe), "--out", str(out), *map(str, arguments)]) == 0


def test_built_then_skipped_then_built_again(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = recipe_in(tmp_path, mirror), tmp_path / "build" / "models"
    build(recipe, out, "--mirror", mirror)
    assert "made: built" in capsys.readouterr().out
    card = require_card(out / "made.tflite")
    assert (card.name, card.source.licence, card.source.homepage) == ("made", "MIT", "https://example.org")
    assert [file.url for file in card.source.files] == [
        *("http://127.0.0.1:9/tiny.cfg", "http://127.0.0.1:9/tiny.weights", "http://127.0.0.1:9/tiny.names")
    ]
    first = (out / "made.tflite").stat().st_mtime_ns

    # The mirror is not needed any more: nothing has changed.
    build(recipe, out)
    assert "made: skipped (up to date)" in capsys.readouterr().out
    assert (out / "made.tflite").stat().st_mtime_ns == first

    # Another recipe is another model; its sources are already here.
    recipe_in(tmp_path, mirror, input={"resize": "letterbox"})
    build(recipe, out, "--calibration", mirror / "set" / "images")
    assert "made: built" in capsys.readouterr().out
    assert require_card(out / "made.tflite").input.resize == "letterbox"


class BuildsAnewError(Exception):
    """What a test raises where TensorFlow would be loaded."""


def test_other_pictures_or_a_report_are_not_up_to_date(
    tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = recipe_in(tmp_path, mirror, calibration={"path": "set/images"}), tmp_path / "build" / "models"
    own = tmp_path / "own"
    for folder in (own, tmp_path / "set" / "images"):
        shutil.copytree(mirror / "set" / "images", folder)
    arguments = ("--mirror", mirror)
    build(recipe, out, *arguments)
    build(recipe, out, *arguments)
    assert "made: skipped (up to date)" in capsys.readouterr().out

    def anew() -> None:
        raise BuildsAnewError

    monkeypatch.setattr("convert.build.import_keras", anew)
    for others in (("--report", tmp_path / "told"), ("--calibration", own)):
        with pytest.raises(BuildsAnewError):
            build(recipe, out, *arguments, *others)
    min((tmp_path / "set" / "images").iterdir()).unlink()
    with pytest.raises(BuildsAnewError):
        build(recipe, out, *arguments)


def test_other_labels_are_not_up_to_date(tmp_path: Path, mirror: Path) -> None:
    recipe = load_recipe(str(recipe_in(tmp_path, mirror, evaluation={"path": "val"})))
    label = tmp_path / "val" / "labels" / "a.txt"
    label.parent.mkdir(parents=True)
    keys = set()
    for text in ("0 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.3", "0 0.5 0.5 0.2 0.3"):
        label.write_text(text)
        keys.add(build_key(recipe, None, None, Budget()))
    assert len(keys) == 2


def test_damaged_file_in_place_is_built_again(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out = recipe_in(tmp_path, mirror), tmp_path / "models"
    out.mkdir()
    (out / "made.tflite").write_text("not a model")
    build(recipe, out, "--mirror", mirror)
    assert "made: built" in capsys.readouterr().out
    assert require_card(out / "made.tflite").name == "made"


def test_without_mirror_and_network(tmp_path: Path, mirror: Path) -> None:
    recipe = recipe_in(tmp_path, mirror)
    with pytest.raises(InputError, match=r"tiny\.cfg: no mirror was given, and http://127.*cannot be reached"):
        build(recipe, tmp_path / "build" / "models")
    assert not list(tmp_path.rglob("*.tflite"))


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(["list"]) == 0
    assert "yolo-fastest-1.1         detect" in capsys.readouterr().out


def test_pruned_then_quantised(tmp_path: Path, mirror: Path) -> None:
    """A recipe with a ``[prune]`` section is pruned, trained and quantised by one command."""
    out = tmp_path / "build" / "models"
    plan = {"ratio": 0.3, "rounds": 2, "train_steps": 1, "final_steps": 2}
    build(recipe_in(tmp_path, mirror, prune=plan), out, "--mirror", mirror)
    card = require_card(out / "made.tflite")
    assert card.pruning is not None
    assert card.pruning.ratio == pytest.approx(0.3, abs=0.1)
    assert card.pruning.macs_after < card.pruning.macs_before
    assert card.quantization is not None
    rounds = json.loads((tmp_path / "build" / "prune" / "made" / "pruning.json").read_text())
    assert [point["round"] for point in rounds["points"]] == [0, 1, 2]
