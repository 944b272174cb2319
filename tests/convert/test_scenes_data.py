"""Generated scenes as a folder: what was drawn is what is read, once and for all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import convert.data.scenes as module
from convert.data import read_dataset
from convert.data.scenes import scenes_folder
from convert.train.recipe import ScenesRecipe
from runtime.errors import InputError, RunError
from runtime.scenes import LABELS, Scene, draw_scene

RECIPE = ScenesRecipe("cards", 5, 3)
SIZES = [(640, 480), (480, 640), (480, 480), (640, 480), (480, 640)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes_folder(RECIPE, tmp_path_factory.mktemp("scenes") / "below")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_read_is_what_was_drawn(folder: Path) -> None:
    dataset = read_dataset(folder, strict=True)
    assert dataset.names == LABELS
    assert len(dataset.truths) == 5
    assert (dataset.problems, dataset.unlabelled, dataset.skipped) == ((), 0, 0)
    total = 0
    for number, (truth, (width, height)) in enumerate(zip(dataset.truths, SIZES, strict=True)):
        scene = draw_scene(RECIPE.seed * 1_000_000 + number, width, height)
        assert truth.class_ids.tolist() == scene.class_ids.tolist()
        np.testing.assert_allclose(truth.boxes, scene.boxes / ([width, height] * 2), atol=2e-6)
        pixels = cv2.imread(str(truth.path))
        assert pixels is not None
        assert pixels.shape == (height, width, 3)
        assert np.abs(pixels.astype(float) - scene.pixels).mean() < 4
        total += len(truth.boxes)
    assert total > 3


def test_same_recipe_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = scenes_folder(RECIPE, tmp_path)
    assert again.name == folder.name
    assert files(again) == files(folder)
    assert [path.name for path in tmp_path.iterdir()] == [again.name]
    assert again.stat().st_mode & 0o777 == 0o755


def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replaces the generator by a quick one that notes what it draws."""
    seeds: list[int] = []

    def draw(seed: int, width: int, height: int) -> Scene:
        seeds.append(seed)
        box = np.array([[width / 4, height / 4, width / 2, height / 2]], np.float32)
        return Scene(
            np.full((height, width, 3), seed % 256, np.uint8), box, np.zeros(1, np.int32), np.ones(1, np.float32)
        )

    monkeypatch.setattr(module, "draw_scene", draw)
    return seeds


def test_second_call_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = quick(monkeypatch)
    told: list[tuple[int, int]] = []
    first = scenes_folder(RECIPE, tmp_path, lambda done, total: told.append((done, total)))
    assert sorted(seeds) == [3_000_000 + number for number in range(5)]
    assert told == [(done, 5) for done in range(1, 6)]
    assert scenes_folder(RECIPE, tmp_path) == first
    assert len(seeds) == 5


def test_other_recipes_and_generators_have_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    folders = [scenes_folder(ScenesRecipe("cards", count, seed), tmp_path) for count, seed in ((2, 1), (3, 1), (2, 2))]
    # A share says how often pictures are used, not which.
    assert scenes_folder(ScenesRecipe("cards", 2, 1, 0.3), tmp_path) == folders[0]
    monkeypatch.setattr(module, "_generator_digest", lambda: "0" * 64)
    folders.append(scenes_folder(ScenesRecipe("cards", 2, 1), tmp_path))
    assert len(set(folders)) == 4
    assert not set(files(folders[0])) - set(files(folders[1]))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError("full"), KeyboardInterrupt()])
def test_failed_drawing_leaves_nothing(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    quickly: Callable[[int, int, int], Scene] = vars(module)["draw_scene"]

    def fail(seed: int, width: int, height: int) -> Scene:
        if seed % 1000 == 3:
            raise error
        return quickly(seed, width, height)

    monkeypatch.setattr(module, "draw_scene", fail)
    expected = RunError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected, match="(?i)no space left on device" if isinstance(error, OSError) else None):
        scenes_folder(RECIPE, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(module, "draw_scene", quickly)
    assert len(files(scenes_folder(RECIPE, tmp_path))) == 11


def test_somebody_else_was_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    target = tmp_path / folder.name

    def finish_first(done: int, total: int) -> None:
        shutil.copytree(folder, target, dirs_exist_ok=True)

    assert scenes_folder(RECIPE, tmp_path, finish_first) == target
    assert files(target) == files(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        scenes_folder(RECIPE, tmp_path / "file")
