"""Network cameras: RTSP, and MJPEG over HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

import cv2

from runtime.errors import InputError
from runtime.grammar import shown
from runtime.sources.query import BadNameError
from runtime.sources.video import VideoSource

_OPEN_TIMEOUT_MS = 10_000
# Half a camera's usual gap between key frames more than any pause a living camera makes.
_READ_TIMEOUT_MS = 5_000
_ASK_TIMEOUT_S = 2.0
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}

# RTSP over TCP: over UDP a single lost packet smears the picture until the next key frame, and most firewalls drop it.
# No buffering in the demuxer and no reordering delay in the decoder: each would be latency.
_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|max_delay;0"
_options_lock = threading.Lock()


def open_stream(url: str) -> VideoSource:
    """A network camera (RTSP with H.264 or another codec FFmpeg reads, or MJPEG over HTTP).

    Raises:
        InputError: No picture within 10 s; says what the other side answered.
    """
    parts = _split(url)
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS]
    with _options():
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)
    if not (capture.isOpened() and capture.grab()):
        capture.release()
        raise _explain(shown(url), parts)
    return VideoSource(capture, shown(url), live=True)


def _split(url: str) -> SplitResult:
    try:
        url.encode()  # OpenCV would end the process over what is not UTF-8.
        parts = urlsplit(url)
        # What the name service would be asked for: two dots in a row, for one, are no name.
        known = bool((parts.hostname or "").encode("idna")) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise BadNameError(
            f"{shown(url)} is not an address", "expected rtsp://HOST[:PORT]/PATH or http://HOST[:PORT]/PATH"
        )
    return parts


@contextlib.contextmanager
def _options() -> Iterator[None]:
    """OpenCV takes FFmpeg's options from the environment alone, when a capture is opened; a user's own are kept."""
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    with _options_lock:
        ours = name not in os.environ
        if ours:
            os.environ[name] = _OPTIONS
        try:
            yield
        finally:
            if ours:
                del os.environ[name]


def _explain(name: str, parts: SplitResult) -> InputError:
    """Why an address gives no pictures, asked of the other side in its own protocol."""
    host, scheme = parts.hostname or "", parts.scheme.lower()
    port = parts.port or _PORTS[scheme]
    seen = f"{name} gives no pictures"
    try:
        with socket.create_connection((host, port), _ASK_TIMEOUT_S) as link:
            status = _ask(link, scheme, parts)
    except socket.gaierror:
        return InputError(f"{seen}: host {host} is not known", "", "check the name and the network")
    except OSError as error:
        why = "does not answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        return InputError(f"{seen}: {host} port {port}: {why}", "", "check the address, and that the camera is on")
    if status == HTTPStatus.UNAUTHORIZED:
        return InputError(f"{seen}: it asks for a user and password", "", f"give {scheme}://USER:PASSWORD@{host}/..")
    if status >= HTTPStatus.BAD_REQUEST:
        return InputError(f"{seen}: it answers {status}", "expected a path the camera knows", "check the address")
    return InputError(seen, "expected a stream FFmpeg can read", "check the address")


def _ask(link: socket.socket, scheme: str, parts: SplitResult) -> int:
    """The status a camera answers with; 0 where it cannot be told."""
    if scheme not in ("rtsp", "http"):
        return 0
    host = parts.netloc.rpartition("@")[2]
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    if scheme == "rtsp":
        request = f"DESCRIBE rtsp://{host}{path} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    else:
        request = f"GET {path or '/'} HTTP/1.0\r\nHost: {host}\r\n\r\n"
    link.settimeout(_ASK_TIMEOUT_S)
    link.sendall(request.encode("ascii", "replace"))
    words = link.recv(64).split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
