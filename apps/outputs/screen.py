"""Whether windows can be shown here, found out before anything depends on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import cv2

from runtime.errors import InputError
from runtime.grammar import is_number

_INSTEAD = "or leave it out and open the live page in a browser"
_DESKTOP = "pip uninstall -y opencv-python-headless; pip install 'edgewren[desktop]'"
_PROBE = "import cv2; cv2.namedWindow('Edgewren')"
_PROBE_TIMEOUT_S = 30


def choose_screen(uri: str) -> None:
    """Makes the screen that ``display://0`` names the one that windows open on.

    ``0`` is where ``DISPLAY`` (or ``WAYLAND_DISPLAY``) says, else the machine's first one; others are those of X.

    Raises:
        InputError: A bad name, an OpenCV without windows, or no screen that can be reached.
    """
    number = uri.removeprefix("display://")
    if not is_number(number, 3):
        raise InputError(f"{uri} is not a screen", "expected display://0")
    if re.search(r"^\s*GUI:\s*NONE\s*$", cv2.getBuildInformation(), re.MULTILINE):
        raise InputError(
            f"{uri}: this OpenCV ({cv2.__version__}) cannot show windows",
            "expected a build with a GUI",
            f"{_DESKTOP}, {_INSTEAD}",
        )
    if int(number) or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ["DISPLAY"] = f":{int(number)}"
    _check(uri)
    # The wheel's Qt tells of fonts it has not.
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")


def _check(uri: str) -> None:
    """Opens a window in a child process: where there is no screen, Qt does not raise but ends the process."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        reason = "it does not answer"
    else:
        if done.returncode == 0:
            return
        reason = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "no window opens")[:120]
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    raise InputError(
        f"{uri}: no screen at {screen} ({reason})", "expected a desktop", f"start it from a terminal there, {_INSTEAD}"
    )
