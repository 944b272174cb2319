"""Where frames come from: one grammar of names for every program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from runtime.errors import InputError
from runtime.files import check_file
from runtime.frame import Frame
from runtime.grammar import INPUTS
from runtime.sources.images import IMAGE_SUFFIXES, ImageSource, list_images


class Source(Protocol):
    """Something that gives frames.

    Attributes:
        live: Whether frames arrive by the clock; a slow reader then skips frames instead of falling behind.
        fps: Frames per second as far as known.
    """

    live: bool
    fps: float | None

    def read(self) -> Frame | None:
        """The next frame, ``None`` at the end."""

    def rewind(self) -> bool:
        """Goes back to the first frame; false when that cannot be done."""

    def close(self) -> None:
        """Frees the device or file."""


def open_source(uri: str) -> Source:
    """Opens what a name stands for.

    Args:
        uri: ``0``, ``v4l2:///dev/video0``, ``/dev/video0``, ``rtsp://..``, ``http://..``, ``synthetic://cards``, or
            the path of a video, an image or a folder of images.

    Raises:
        InputError: An unknown kind of name, or something that cannot be read.
    """
    path = Path(uri)
    if "://" not in uri and path.is_dir():
        return ImageSource(list_images(path))
    if "://" not in uri and path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource([check_file(path, "an image, a video or a folder of images")])
    return _open_moving(uri)


def _open_moving(uri: str) -> Source:
    """Opens a camera, a stream, a scene or a video; pictures do without what these need."""
    from runtime.sources.synthetic import open_synthetic
    from runtime.sources.video import open_camera, open_stream, open_video

    if uri.isdecimal() or uri.startswith("/dev/video"):
        return open_camera(f"/dev/video{int(uri)}" if uri.isdecimal() else uri)
    scheme, separator, rest = uri.partition("://")
    if separator:
        if scheme == "v4l2":
            return open_camera(rest)
        if scheme in ("rtsp", "rtsps", "http", "https"):
            return open_stream(uri)
        if scheme == "synthetic":
            return open_synthetic(uri)
        raise InputError(f"{uri} is not a source this version knows", f"expected {INPUTS}")
    return open_video(Path(uri))


def frames(source: Source, loop: bool = False) -> Iterator[Frame]:
    """All frames of a source, again and again with ``loop``."""
    while True:
        frame = source.read()
        if frame is not None:
            yield frame
        elif not loop or not source.rewind():
            return


__all__ = ["Source", "frames", "open_source"]
