"""The names of sources and sinks: help texts, error lines, and the suffixes that tell kinds of files apart."""

from __future__ import annotations

import re

INPUTS = (
    "0 or v4l2:///dev/video0 (camera), csi://0 (ribbon cable), rtsp:// or http:// (stream), "
    "synthetic://cards (made scenes), a video, an image, or a folder of images"
)
OUTPUTS = "json://- or json://FILE, FILE.mp4, FILE.jpg (one picture, or a contact sheet), or a folder for pictures"
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv"})

# What follows ? in these is a wish of the user's, not a camera's secret.
_OURS = ("csi", "json", "synthetic", "v4l2")


def is_number(text: str, digits: int) -> bool:
    """Whether a text is a whole number of at most so many digits, as it is typed.

    Python itself reads the digits of all scripts, and underscores, and fails with thousands of digits.
    """
    return text.isascii() and text.isdecimal() and len(text) <= digits


def shown(uri: str) -> str:
    """An address as it may be shown and logged: without user and password, which cameras also take in the query."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.lower() in _OURS:
        return uri
    # By hand: a password may hold brackets, slashes and question marks. The host follows the last @.
    _, at, place = rest.rpartition("@")
    return f"{scheme}://{'***@' if at else ''}{re.split('[?#]', place)[0]}"
