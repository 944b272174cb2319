"""The ribbon-cable camera beside a stand-in for Picamera2, which runs on a Raspberry Pi alone."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime.errors import InputError, RunError
from runtime.sources import open_source


class Request:
    """A red picture as Picamera2's ``RGB888`` lies in memory: blue, green, red."""

    def make_array(self, stream: str) -> np.ndarray:
        assert stream == "main"
        return np.full((480, 640, 3), (0, 0, 255), np.uint8)

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": int((time.monotonic() - 0.04) * 1e9)}

    def release(self) -> None:
        pass


class Picamera2:
    """One camera of 640x480 at most."""

    broken = False

    def __init__(self, number: int) -> None:
        self.camera_properties = {"Model": "imx708"}

    @staticmethod
    def global_camera_info() -> list[dict[str, str]]:
        return [{"Model": "imx708"}]

    def create_video_configuration(self, **wanted: Any) -> dict[str, Any]:
        assert wanted["main"]["format"] == "RGB888"
        return wanted

    def configure(self, wanted: dict[str, Any]) -> None:
        pass

    def camera_configuration(self) -> dict[str, Any]:
        return {"main": {"size": (640, 480)}}

    def capture_request(self) -> Request:
        if self.broken:
            raise RuntimeError("camera frontend has timed out")
        return Request()

    def start(self) -> None:
        pass

    stop = close = start


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))


@pytest.mark.usefixtures("picamera2")
def test_red_is_red_and_the_sensor_says_when() -> None:
    source: Any = open_source("csi://0?size=1280x720&fps=25")
    frame = source.read()
    assert frame.color == "bgr"
    assert tuple(frame.pixels[0, 0]) == (0, 0, 255)
    assert 0.04 <= time.monotonic() - frame.captured < 1
    assert source.about == "640x480 RGB888, 25 frames/s, imx708"
    source._camera.broken = True
    with pytest.raises(RunError, match="stopped"):
        source.read()
    source.close()


@pytest.mark.usefixtures("picamera2")
def test_a_camera_that_is_not_connected() -> None:
    with pytest.raises(InputError, match=r"no camera at csi://1; .*: csi://0 \(imx708\)"):
        open_source("csi://1")


def test_without_picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(InputError, match="apt install python3-picamera2"):
        open_source("csi://0")
