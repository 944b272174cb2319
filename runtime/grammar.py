"""The names of sources and sinks: help texts, error lines, and the suffixes that tell kinds of files apart."""

from __future__ import annotations

import re

INPUTS = (
    "0 or v4l2:///dev/video0 (camera), csi://0 (ribbon cable), rtsp:// or http:// (stream), "
    "synthetic://cards (made scenes), a video, an image, or a folder of images"
)
OUTPUTS = "json://- or json://FILE, FILE.mp4, FILE.jpg (one picture, or a contact sheet), or a folder for pictures"
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv"})

# A user, a colon and a password in front of the host. A password with a slash in it makes the address malformed, and an
# error line must not show it either; digits before the first slash are a port.
_PASSWORD = re.compile(r"^([^:/?#]+://[^:/?#@\[]*):(?:[^/?#]*@|(?!\d*(?:[/?#]|$)).*@)")
# Some cameras take it in the query: ``?user=me&pwd=..``.
_QUERY_PASSWORD = re.compile(r"([?&][^=&#]*(?:pass|pw|token|secret|auth)[^=&#]*=)[^&#]*", re.IGNORECASE)


def shown(uri: str) -> str:
    """An address as it may be shown and logged: without the password. Malformed addresses are taken too."""
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1:***@", uri))
