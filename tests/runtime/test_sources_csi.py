"""The ribbon-cable camera beside a stand-in for Picamera2, which runs on a Raspberry Pi alone."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from apps.blur import Blur
from runtime.card import InputSpec
from runtime.detections import Detections
from runtime.draw import annotate
from runtime.engine import TensorSpec
from runtime.errors import InputError, RunError
from runtime.preprocess import Preprocessor
from runtime.sources import Asking, open_source


class Request:
    """A red picture as Picamera2's ``RGB888`` lies in memory: blue, green, red. The small stream's is blue."""

    def __init__(self, streams: dict[str, Any]) -> None:
        self._streams = streams

    def make_array(self, stream: str) -> np.ndarray:
        width, height = self._streams[stream]["size"]
        if stream == "main":
            return np.full((height, width, 3), (0, 0, 255), np.uint8)
        # Rows of the camera's memory are longer than the picture is wide.
        blue = np.full((height, width + 32, 3), (255, 0, 0), np.uint8)
        return cv2.cvtColor(blue, cv2.COLOR_BGR2YUV_I420)

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": int((time.monotonic() - 0.04) * 1e9)}

    def release(self) -> None:
        pass


class Picamera2:
    """One camera of 1280x720 at most."""

    broken = False

    def __init__(self, number: int) -> None:
        self.camera_properties = {"Model": "imx708"}

    @staticmethod
    def global_camera_info() -> list[dict[str, str]]:
        return [{"Model": "imx708"}]

    def create_video_configuration(self, **wanted: Any) -> dict[str, Any]:
        assert wanted["main"]["format"] == "RGB888"
        assert wanted.get("lores", {"format": "YUV420"})["format"] == "YUV420"
        assert wanted["colour_space"] == "BT.601"
        return wanted

    def configure(self, wanted: dict[str, Any]) -> None:
        self._wanted = dict(wanted)
        self._wanted["main"] = {"size": tuple(map(min, wanted["main"]["size"], (1280, 720)))}

    def camera_configuration(self) -> dict[str, Any]:
        return self._wanted

    def capture_request(self) -> Request:
        if self.broken:
            raise RuntimeError("camera frontend has timed out")
        return Request(self._wanted)

    def start(self) -> None:
        pass

    stop = close = start


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))
    space = SimpleNamespace(Smpte170m=lambda: "BT.601")
    monkeypatch.setitem(sys.modules, "libcamera", SimpleNamespace(ColorSpace=space))


@pytest.mark.usefixtures("picamera2")
def test_red_is_red_and_the_sensor_says_when() -> None:
    source: Any = open_source("csi://0?size=1280x720&fps=25")
    frame = source.read()
    assert frame.color == "bgr"
    assert tuple(frame.pixels[0, 0]) == (0, 0, 255)
    assert 0.04 <= time.monotonic() - frame.captured < 1
    assert source.about == "1280x720 RGB888 and 640x360 YUV420, 25 frames/s, imx708"
    source._camera.broken = True
    with pytest.raises(RunError, match="stopped"):
        source.read()
    source.close()


@pytest.mark.usefixtures("picamera2")
def test_a_picture_that_is_not_wanted_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source("csi://0")
    copied: list[str] = []
    released: list[Request] = []
    copy = Request.make_array

    def noted(request: Request, stream: str) -> np.ndarray:
        copied.append(stream)
        return copy(request, stream)

    monkeypatch.setattr(Request, "make_array", noted)
    monkeypatch.setattr(Request, "release", lambda request: released.append(request))
    assert isinstance(source, Asking)
    answers = [False, False, True]
    source.wanted = lambda captured: answers.pop(0)
    frame = source.read()
    assert frame is not None
    assert (frame.index, answers) == (2, [])
    assert (copied, len(released)) == (["main", "lores"], 3)


@pytest.mark.usefixtures("picamera2")
@pytest.mark.parametrize(("side", "small"), [(320, True), (700, False)])
def test_the_network_gets_the_small_stream_where_that_is_enough(side: int, small: bool) -> None:
    """Red is the main stream, blue the small one; boxes are of the main one in either case."""
    frame = open_source("csi://0").read()
    assert frame is not None
    assert frame.small is not None
    assert (frame.pixels.shape, frame.small.shape) == ((720, 1280, 3), (360, 640, 3))
    spec = InputSpec("x", side, side, "rgb", "letterbox", (1.0,), (0.0,))
    tensor = np.zeros((1, side, side, 3), np.uint8)
    placement = Preprocessor(spec, TensorSpec("x", tensor.shape, tensor.dtype)).write(frame, tensor)
    seen = tensor[0, side // 2, side // 2].astype(int)
    assert (seen[2] > 240 and seen[0] < 20) if small else (seen[0] > 240 and seen[2] < 20)
    whole = np.array([[0, (side - side * 9 / 16) / 2, side, (side + side * 9 / 16) / 2]], np.float32)
    assert placement.to_image(whole)[0] == pytest.approx([0, 0, 1280, 720], abs=2)


@pytest.mark.usefixtures("picamera2")
def test_what_is_shown_is_the_main_stream_and_hidden_classes_are_hidden_in_all_of_it() -> None:
    frame = open_source("csi://0").read()
    assert frame is not None
    found = Detections(
        np.array([[100, 100, 300, 300]], np.float32), np.array([0.9], np.float32), np.array([0], np.int32)
    )
    assert tuple(annotate(frame, found, ("wren",))[50, 50]) == (0, 0, 255)
    blurred = Blur(("wren",), ("wren",)).apply(frame, found)
    assert blurred.small is None
    assert (blurred.width, blurred.height) == (1280, 720)


@pytest.mark.usefixtures("picamera2")
def test_a_small_picture_has_no_second_stream() -> None:
    source: Any = open_source("csi://0?size=320x240")
    assert source.read().small is None
    assert source.about.startswith("320x240 RGB888, ")


@pytest.mark.usefixtures("picamera2")
def test_a_camera_that_is_not_connected() -> None:
    with pytest.raises(InputError, match=r"no camera at csi://1; .*: csi://0 \(imx708\)"):
        open_source("csi://1")


def test_without_picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(InputError, match="apt install python3-picamera2"):
        open_source("csi://0")
