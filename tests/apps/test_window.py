"""``display://0``: a window on a screen in memory, with an OpenCV that has windows, and what is said without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.draw import class_color
from tests.apps import desk
from tests.apps.xvfb import Screen, desktop, screen, while_running
from tests.conftest import ROOT, run_module

__all__ = ["desktop", "screen"]  # fixtures

Start = Callable[..., "subprocess.Popen[str]"]
_LINE = "[[shapes]]\nname = 'gate'\nkind = 'line'\npoints = [[0.5, 0], [0.5, 1]]\n"


@pytest.fixture
def start(screen: Screen, desktop: Path) -> Iterator[Start]:
    """Starts the app with a window; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(source: str, *arguments: object, **variables: str) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str(desktop), "DISPLAY": screen.name} | variables
        command = [sys.executable, "-m", "tests.apps.window_app", "m.tflite", source, "display://0"]
        started.append(
            subprocess.Popen(
                [*command, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def walls(mask: np.ndarray) -> tuple[int, int] | None:
    """First and last column in which the mask is set nearly all along the middle of the robin."""
    columns = np.flatnonzero(mask[desk.TOP + 30 : desk.TOP + desk.SIDE - 20].mean(axis=0) > 0.8)
    return (int(columns[0]), int(columns[-1])) if len(columns) else None


def box_and_robin(screen: Screen) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Where the robin's box and the robin are in the window, left and right."""
    picture = screen.picture()
    if picture is None or picture.shape[:2] != (desk.HEIGHT, desk.WIDTH):
        return None
    colors = picture.astype(int)
    box = walls(np.abs(colors - class_color(1)).max(axis=2) < 40)
    robin = walls(colors.min(axis=2) > 200)
    return (box, robin) if box and robin else None


def test_boxes_lie_on_the_objects_and_move(start: Start, screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "shapes.toml").write_text(_LINE)
    app = start("camera", "--config", tmp_path / "shapes.toml", "--no-governor")
    apart: dict[int, int] = {}

    def moved() -> bool:
        if found := box_and_robin(screen):
            (left, right), (first, last) = found
            apart[left] = max(abs(left - first), abs(right - last))
        return len(apart) >= 12

    while_running(moved, app, screen)
    # Its upright lines are on the robin's edges, but for the frames after a turn, when the track runs on.
    assert sorted(apart.values())[len(apart) // 2] <= 5
    picture = screen.picture()
    assert picture is not None
    # The counting line, drawn from top to bottom in the middle.
    yellow = np.abs(picture.astype(int) - (80, 220, 255)).max(axis=2) < 60
    assert yellow[20 : desk.HEIGHT - 20, desk.WIDTH // 2 - 2 : desk.WIDTH // 2 + 3].any(axis=1).mean() > 0.7


@pytest.mark.parametrize("way", ["q", "Escape", "alt+F4", "signal"])
def test_it_ends_when_the_window_does(way: str, start: Start, screen: Screen, tmp_path: Path) -> None:
    app = start("camera", tmp_path / "out.mp4")
    while_running(lambda: box_and_robin(screen), app, screen)
    if way == "signal":
        app.send_signal(signal.SIGTERM)
    else:
        screen.press(way)
    out, err = app.communicate(timeout=60)
    assert app.returncode == 0, err
    assert out == ""
    assert [line.split(" in ")[0].split()[-1] for line in err.splitlines()[:-1]] == ["frames"], err
    assert err.splitlines()[-1] == f"wrote {tmp_path / 'out.mp4'}"
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).read()[0]


def test_it_outlives_minimising(start: Start, screen: Screen) -> None:
    app = start("camera")
    while_running(lambda: box_and_robin(screen), app, screen)
    screen.restore()
    before = box_and_robin(screen)
    while_running(lambda: box_and_robin(screen) not in (None, before), app, screen)


def test_single_pictures_wait_for_a_key_each(start: Start, screen: Screen, tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in ("green", "red")]
    for path, color in zip(paths, ((0, 160, 0), (0, 0, 160)), strict=True):
        assert cv2.imwrite(str(path), np.full((desk.HEIGHT, desk.WIDTH, 3), color, np.uint8))
    app = start("pictures", PICTURES=":".join(map(str, paths)))
    while_running(lambda: shade(screen) == (0, 160, 0), app, screen)
    with pytest.raises(subprocess.TimeoutExpired):
        app.wait(1)
    assert shade(screen) == (0, 160, 0)
    screen.press("space")
    while_running(lambda: shade(screen) == (0, 0, 160), app, screen)
    screen.press("space")
    _, err = app.communicate(timeout=60)
    assert app.returncode == 0, err
    assert err.startswith("2 frames in ")


def shade(screen: Screen) -> tuple[int, ...]:
    """The colour of a place where nothing is drawn."""
    picture = screen.picture()
    return () if picture is None or picture.shape[1] < desk.WIDTH else tuple(picture[20, 400].tolist())


def test_without_a_screen_it_is_one_line(start: Start, screen: Screen) -> None:
    app = start("camera", DISPLAY=":987")
    _, err = app.communicate(timeout=60)
    assert app.returncode == 2
    assert err.startswith("error: display://0: no screen at :987 (")
    assert "could not connect" in err
    assert err.count("\n") == 1


def test_without_windows_in_opencv_it_is_one_line_that_says_how_to_get_them(tiny_model: Path) -> None:
    done = run_module("apps.live", tiny_model, "synthetic://cards", "display://0")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: display://0: this OpenCV (")
    assert "pip uninstall -y opencv-python-headless; pip install 'edgewren[desktop]'" in done.stderr
    assert done.stderr.count("\n") == 1
