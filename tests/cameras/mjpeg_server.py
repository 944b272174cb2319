"""An MJPEG camera over HTTP: ``python mjpeg_server.py PORT``."""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import cv2
import numpy as np

_FPS = 15
# As GStreamer's test picture: white, yellow, cyan, green, magenta, red, blue.
_BARS = [(191, 191, 191), (0, 191, 191), (191, 191, 0), (0, 191, 0), (191, 0, 191), (0, 0, 191), (191, 0, 0)]


def jpeg(index: int) -> bytes:
    """The bars, and a white block that moves along the lower edge."""
    picture = np.repeat(np.array(_BARS, np.uint8)[None], 240, 0).repeat(46, 1)[:, :320].copy()
    left = 8 * index % 300
    picture[220:, left : left + 20] = 255
    return bytes(cv2.imencode(".jpg", picture)[1])


class Camera(BaseHTTPRequestHandler):
    """Answers one viewer."""

    def do_GET(self) -> None:
        if self.path not in ("/stream", "/silent"):
            self.send_error(401 if self.path == "/locked" else 404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for index in count():
            data = jpeg(index)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return
            if self.path == "/silent" and index == 9:
                time.sleep(60)
            time.sleep(1 / _FPS)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera)
server.daemon_threads = True
threading.Timer(120, server.shutdown).start()
server.serve_forever()
