"""Network cameras as processes of their own, to be killed and started again.

Each shows SMPTE-like colour bars: a red bar and a blue one at known places.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

import pytest

from tests.ports import free_port, listens
from tests.waiting import until

_HERE = Path(__file__).parent
_START_TIMEOUT_S = 20
# The system's Python has the system's GStreamer; ours has not.
_SYSTEM_PYTHON = "/usr/bin/python3"


class NetworkCamera:
    """A camera at ``url`` on this machine, once it was started.

    Args:
        command: The server's command line; its port is appended.
        scheme: Of the address.
        path: Of the address.
    """

    def __init__(self, command: list[str], scheme: str, path: str) -> None:
        self.port = free_port()
        self._command = [*command, str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"{scheme}://127.0.0.1:{self.port}/{path}"

    def __enter__(self) -> NetworkCamera:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it and waits until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens, f"{self._command} does not listen", _START_TIMEOUT_S, 0.05)

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, f"{self._command} ended"
        return listens(self.port)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def mjpeg_camera() -> NetworkCamera:
    """An MJPEG camera over HTTP: ``/stream``; ``/locked`` answers 401, ``/silent`` sends nothing after two frames."""
    return NetworkCamera([sys.executable, str(_HERE / "mjpeg_server.py")], "http", "stream")


def rtsp_camera() -> NetworkCamera:
    """An H.264 camera over RTSP, by GStreamer's server; skips where that is not installed."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer\n"
    check += "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('videotestsrc', 'x264enc', 'rtph264pay')))"
    try:
        missing = subprocess.run([_SYSTEM_PYTHON, "-c", check], capture_output=True, check=False).returncode != 0
    except OSError:
        missing = True
    if missing:
        pytest.skip(
            "no GStreamer RTSP server (apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly)"
        )
    return NetworkCamera([_SYSTEM_PYTHON, str(_HERE / "rtsp_server.py")], "rtsp", "bars")
