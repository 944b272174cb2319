"""Generated scenes as an annotated folder, so that they are used like any other pictures."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from convert.train.recipe import ScenesRecipe
from runtime import scenes
from runtime.errors import RunError
from runtime.files import make_folder
from runtime.scenes import LABELS, draw_scene

# Cameras see landscape and portrait; nets are fed squares.
_SIZES = ((640, 480), (480, 640), (480, 480))
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


def scenes_folder(recipe: ScenesRecipe, root: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder of a set of scenes, drawn when it is not there yet.

    Args:
        recipe: Which scenes.
        root: Sets lie below it, each under a name that says what it holds and which generator drew it.
        progress: Called with (done, total) while drawing.

    Returns:
        A folder with ``images/``, YOLO ``labels/`` and ``classes.txt``.

    Raises:
        RunError: It could not be written.
    """
    target = root / f"{recipe.scenes}-{recipe.count}-seed{recipe.seed}-{_generator_digest()[:8]}"
    if target.is_dir():
        return target
    make_folder(root)
    try:
        scratch = Path(tempfile.mkdtemp(dir=root, prefix=".scenes-"))
        try:
            _draw(recipe, scratch, progress)
            scratch.chmod(0o755)
            scratch.rename(target)
        except OSError:
            # Somebody else finished the same set first.
            if not target.is_dir():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise RunError(f"{target} cannot be written ({error.strerror})", "", "free disk space and retry") from None
    return target


def _draw(recipe: ScenesRecipe, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    # OpenCV lets go of the interpreter while it draws, so threads share the cores.
    with ThreadPoolExecutor(max_workers=2) as workers:
        numbers = range(recipe.count)
        for done, _ in enumerate(workers.map(lambda number: _draw_one(recipe, folder, number), numbers), start=1):
            if progress:
                progress(done, recipe.count)


def _draw_one(recipe: ScenesRecipe, folder: Path, number: int) -> None:
    width, height = _SIZES[number % len(_SIZES)]
    scene = draw_scene(recipe.seed * 1_000_000 + number, width, height)
    lines = [
        f"{class_id} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f} "
        f"{(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
        for class_id, (x1, y1, x2, y2) in zip(scene.class_ids.tolist(), scene.boxes.tolist(), strict=True)
    ]
    good, data = cv2.imencode(".jpg", scene.pixels, _QUALITY)
    assert good
    (folder / "images" / f"{number:06}.jpg").write_bytes(data.tobytes())
    (folder / "labels" / f"{number:06}.txt").write_text("".join(lines), encoding="utf-8")


def _generator_digest() -> str:
    """Hash of the code that draws and writes: another generator, another set."""
    digest = hashlib.sha256()
    for path in [*sorted(Path(scenes.__file__).parent.glob("*.py")), Path(__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
