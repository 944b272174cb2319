"""Network cameras, from servers that are real processes: pictures, colours, refusals, and coming back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from runtime.errors import InputError
from runtime.frame import Frame
from runtime.grammar import shown
from runtime.sources import Source, open_lasting, open_source
from runtime.sources.reopening import ReopeningSource
from tests.cameras import NetworkCamera, mjpeg_camera, rtsp_camera
from tests.waiting import until

CAMERAS = [pytest.param(mjpeg_camera, id="mjpeg"), pytest.param(rtsp_camera, id="rtsp")]
# The middles of the sixth and seventh of seven bars.
RED, BLUE = (80, 251), (80, 297)


def check_bars(frame: Frame) -> None:
    """Red is red and blue is blue, in the order the frame states."""
    assert frame.pixels.shape == (240, 320, 3)
    channel = {name: index for index, name in enumerate("bgr" if frame.color == "bgr" else "rgb")}
    for place, name in ((RED, "r"), (BLUE, "b")):
        values = frame.pixels[place].astype(int)
        assert values[channel[name]] > 150
        assert np.delete(values, channel[name]).max() < 60


@pytest.mark.parametrize("make", CAMERAS)
def test_a_camera_that_is_killed_and_started_again_is_seen_again(make: Callable[[], NetworkCamera]) -> None:
    with make() as camera:
        source = open_lasting(camera.url)
        assert isinstance(source, ReopeningSource)
        try:
            frames = [source.read() for _ in range(5)]
            assert all(frame is not None for frame in frames)
            assert source.state.state == "live"
            assert "320x240" in source.about
            camera.kill()
            until(lambda: source.state.state == "reopening" and source.state.attempts > 0)
            assert "127.0.0.1" in source.state.reason
            camera.start()
            until(lambda: source.state.state == "live")
            assert source.state.returns == 1
            assert source.state.reason == ""
            # What lay in the slot when it stopped comes first.
            frames += [source.read() for _ in range(5)]
            got = [frame for frame in frames if frame is not None]
            assert len(got) == 10
            assert [frame.index for frame in got] == sorted({frame.index for frame in got})
            check_bars(got[0])
            check_bars(got[-1])
            assert 0 <= time.monotonic() - got[-1].captured < 1
        finally:
            source.close()


@pytest.mark.parametrize("make", CAMERAS)
def test_a_slow_reader_gets_the_newest_frame(make: Callable[[], NetworkCamera]) -> None:
    with make() as camera:
        source = open_lasting(camera.url)
        assert isinstance(source, ReopeningSource)
        try:
            first = source.read()
            time.sleep(1.5)
            source.read()
            fresh = source.read()
            assert first
            assert fresh
            # Fifteen frames a second have come meanwhile; a queue would give the third now.
            assert fresh.index - first.index > 12
            assert source.dropped > 10
        finally:
            source.close()


def test_waiting_for_a_camera_that_is_not_there_yet() -> None:
    camera = mjpeg_camera()
    with pytest.raises(InputError, match="connection refused"):
        open_lasting(camera.url)
    source = open_lasting(camera.url, wait=True)
    assert isinstance(source, ReopeningSource)
    try:
        until(lambda: source.state.attempts > 0 and "connection refused" in source.state.reason)
        with camera:
            assert source.read() is not None
            assert source.state.state == "live"
    finally:
        source.close()


def test_closing_is_prompt_while_the_camera_is_silent() -> None:
    with mjpeg_camera() as camera:
        source = open_lasting(camera.url.replace("stream", "silent"))
        while (frame := source.read()) is not None and frame.index < 5:
            pass
        reader = threading.Thread(target=lambda: [source.read() for _ in range(20)])
        reader.start()
        time.sleep(0.5)
        begin = time.monotonic()
        source.close()
        reader.join(5)
        assert not reader.is_alive()
        assert time.monotonic() - begin < 2


def test_closing_is_prompt_while_it_is_being_opened() -> None:
    """A listener that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        source = open_lasting(f"http://127.0.0.1:{listener.getsockname()[1]}/x", wait=True)
        time.sleep(0.3)
        begin = time.monotonic()
        source.close()
        assert time.monotonic() - begin < 2
        assert source.read() is None


@pytest.mark.parametrize(
    ("path", "message"),
    [("locked", "asks for a user and password"), ("nowhere", "answers 404")],
)
def test_a_refusal_says_what_the_camera_answered(path: str, message: str) -> None:
    with mjpeg_camera() as camera, pytest.raises(InputError, match=message):
        open_source(camera.url.replace("stream", path))


def test_a_refusal_of_an_rtsp_camera() -> None:
    with rtsp_camera() as camera, pytest.raises(InputError, match="answers 404"):
        open_source(camera.url.replace("bars", "nowhere"))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://me:secret@camera/1?a=b", "rtsp://***@camera/1"),
        ("rtsp://secret@camera:554/1", "rtsp://***@camera:554/1"),
        ("http://camera/1?user=me&password=secret", "http://camera/1"),
        ("rtsp://me:12/secret@camera/1", "rtsp://***@camera/1"),
        ("rtsp://me:se#cret?secret@camera/1", "rtsp://***@camera/1"),
        ("rtsp://me:se]cret@[::1]:554/1", "rtsp://***@[::1]:554/1"),
        ("rtsp://me:sec@ret@camera:x/1", "rtsp://***@camera:x/1"),
        ("rtsp://me:secret@[/1", "rtsp://***@[/1"),
        ("ftp://me:secret@camera/1", "ftp://***@camera/1"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("v4l2:///dev/video0?size=640x480", "v4l2:///dev/video0?size=640x480"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_what_is_shown_of_an_address(address: str, name: str) -> None:
    assert shown(address) == name


@pytest.mark.parametrize("open_it", [open_source, open_lasting])
@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://me:secret@camera:99999/1",
        "rtsp://me:secret@camera:x/1",
        "http://me:secret@[/1",
        "rtsp://me:sec/secret@camera/1",
        "ftp://me:secret@camera/1",
    ],
)
def test_an_error_for_a_malformed_address_shows_no_password(uri: str, open_it: Callable[[str], Source]) -> None:
    with pytest.raises(InputError) as caught:
        open_it(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("secret", ["secret", "se]secret", "1/secret", "se#secret", "se?secret"])
def test_passwords_are_not_shown(secret: str) -> None:
    with pytest.raises(InputError) as wrong:
        open_lasting(f"rtsp://me:{secret}@127.0.0.1:9/x")
    assert "secret" not in str(wrong.value)
    with pytest.raises(InputError) as caught:
        open_source("http://me:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)
