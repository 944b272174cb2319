"""A screen in memory, an OpenCV that shows windows on it, and hands for mouse and keyboard."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.waiting import Patience

_OPENCV = ROOT / "build" / "desktop"
_WIDTH, _HEIGHT = 1024, 768
_TIMEOUT_S = 90
_BLANK_S = 10
# No frames, so that a window's place is its picture's.
_MANAGER = """<openbox_config xmlns="http://openbox.org/3.4/rc">
  <keyboard><keybind key="A-F4"><action name="Close"/></keybind></keyboard>
  <applications><application class="*"><decor>no</decor></application></applications>
</openbox_config>"""


class Screen:
    """An X server without a screen, and a window manager: without one Qt now and then does not paint.

    Args:
        folder: For its picture.

    Attributes:
        name: What ``DISPLAY`` is to say.
    """

    def __init__(self, folder: Path) -> None:
        reading, writing = os.pipe()
        size = f"{_WIDTH}x{_HEIGHT}x24"
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-fbdir", str(folder), "-nolisten", "tcp"]
        # Otherwise it begins anew whenever its last client leaves.
        self._process = subprocess.Popen([*command, "-noreset"], pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with os.fdopen(reading) as told:
            self.name = f":{told.readline().strip()}"
        self._file = folder / "Xvfb_screen0"
        environment = os.environ | {"DISPLAY": self.name, "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
        (folder / "openbox.xml").write_text(_MANAGER)
        command = ["openbox", "--config-file", str(folder / "openbox.xml")]
        self._manager = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while self._hands("get_num_desktops").returncode:
            time.sleep(0.02)

    def picture(self) -> np.ndarray | None:
        """What the program's window shows now: ``(h, w, 3)`` uint8, blue, green, red; ``None`` where there is none."""
        facts = self._window()
        if not facts:
            return None
        x, y, width, height = (int(facts[key]) for key in ("X", "Y", "WIDTH", "HEIGHT"))
        data = self._file.read_bytes()
        # The format of xwd: https://gitlab.freedesktop.org/xorg/proto/xorgproto, include/X11/XWDFile.h.
        header = struct.unpack(">25I", data[:100])
        start, rows, row = header[0] + 12 * header[19], header[5], header[12]
        pixels = np.frombuffer(data, np.uint8, rows * row, start).reshape(rows, row // 4, 4)
        return pixels[y : y + height, x : x + width, :3].copy()

    def press(self, key: str) -> None:
        """Presses a key."""
        assert self._hands("key", key).returncode == 0

    def restore(self) -> None:
        """Minimises the program's window and brings it back."""
        if number := self._window().get("WINDOW"):
            self._hands("windowminimize", "--sync", number, "windowactivate", "--sync", number)

    def close(self) -> None:
        for process in (self._manager, self._process):
            process.terminate()
            process.wait()

    def _window(self) -> dict[str, str]:
        """Number, place and size of the program's window; empty where there is none."""
        told = self._hands("search", "--onlyvisible", "--name", "^Edgewren$", "getwindowgeometry", "--shell", "%@")
        return {} if told.returncode else dict(line.split("=") for line in told.stdout.split() if "=" in line)

    def _hands(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"DISPLAY": self.name}
        return subprocess.run(["xdotool", *arguments], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    for tool in ("Xvfb", "openbox", "xdotool"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine (apt install xvfb openbox xdotool)")
    made = Screen(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def desktop() -> Path:
    """A folder with the OpenCV of the extra ``desktop``, installed once, beside the environment's headless one."""
    version = importlib.metadata.version("opencv-python-headless")
    folder = _OPENCV / version
    _OPENCV.mkdir(parents=True, exist_ok=True)
    with (_OPENCV / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            scratch = _OPENCV / "scratch"
            shutil.rmtree(scratch, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:"]
            wheel = f"opencv-python=={version}"
            done = subprocess.run([*command, "--target", str(scratch), wheel], capture_output=True, check=False)
            if done.returncode:
                pytest.skip(f"{wheel} cannot be installed (pip install needs the package index)")
            scratch.rename(folder)
    return folder


def while_running(condition: Callable[[], object], process: subprocess.Popen[str], screen: Screen) -> None:
    """Waits until something is true while a program runs.

    Qt 5 now and then misses the X server's first words about a new window on a busy machine, and leaves it blank, new
    pictures or not, until it was minimised (docs/live.md says so). A window without a picture is treated like that.
    """
    patience, bright = Patience(_TIMEOUT_S), Patience(_BLANK_S)
    while not condition():
        assert process.poll() is None, process.communicate()
        assert patience.lasts(), "it did not become true"
        if screen.picture() is not None and not bright.lasts():
            screen.restore()
            bright = Patience(_BLANK_S)
        time.sleep(0.02)
