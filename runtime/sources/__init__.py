"""Where frames come from: one grammar of names for every program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from runtime.errors import InputError
from runtime.files import check_file
from runtime.frame import Frame
from runtime.grammar import INPUTS, shown
from runtime.sources.images import IMAGE_SUFFIXES, ImageSource, list_images

_STREAMS = ("rtsp", "rtsps", "http", "https")


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


@runtime_checkable
class Asking(Protocol):
    """A live source that asks whether a picture is worth decoding; one that is not is never read.

    Attributes:
        wanted: Called by the thread that captures, with the time at which the picture was taken (``time.monotonic()``
            seconds); ``None`` decodes all.
    """

    wanted: Callable[[float], bool] | None


def open_source(uri: str) -> Source:
    """Opens what a name stands for.

    Args:
        uri: ``0``, ``v4l2:///dev/video0``, ``/dev/video0``, ``csi://0``, ``rtsp://..``, ``http://..``,
            ``synthetic://cards``, or the path of a video, an image or a folder of images.

    Raises:
        InputError: An unknown kind of name, or something that cannot be read.
    """
    if not uri:
        # A path would take it for the folder one stands in; more likely a shell's variable is not set.
        raise InputError("an input has no name", f"expected {INPUTS}", "give it one")
    path = Path(uri)
    # Unlike the path's own method this one is silent about a name that is too long, or a folder above that is closed.
    if "://" not in uri and os.path.isdir(path):
        return ImageSource(list_images(path))
    if "://" not in uri and path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource([check_file(path, "an image, a video or a folder of images")])
    return _open_moving(uri)


def open_lasting(uri: str, wait: bool = False) -> Source:
    """Opens what a name stands for; cameras and streams are opened again when they stop.

    What comes of those is a :class:`runtime.sources.reopening.ReopeningSource`, whose ``state`` says how they are.

    Args:
        uri: As for :func:`open_source`.
        wait: Do not fail when a camera cannot be opened now; go on trying.

    Raises:
        InputError: As for :func:`open_source`; with ``wait`` a name that can never be right
            fails at the first read instead.
    """
    if not _may_return(uri):
        return open_source(uri)
    from runtime.sources.reopening import ReopeningSource

    first = None if wait else open_source(uri)
    return ReopeningSource(shown(uri), lambda: open_source(uri), first)


def _is_camera(uri: str) -> bool:
    return uri.partition("?")[0].isdecimal() or uri.startswith(("/dev/video", "v4l2://"))


def _may_return(uri: str) -> bool:
    return _is_camera(uri) or uri.partition("://")[0] in ("csi", *_STREAMS)


def _open_moving(uri: str) -> Source:
    """Opens a camera, a stream, a scene or a video; pictures do without what these need."""
    if _is_camera(uri):
        from runtime.sources.v4l2 import open_camera

        return open_camera(uri)
    scheme, separator, _ = uri.partition("://")
    if not separator:
        from runtime.sources.video import open_video

        return open_video(Path(uri))
    if scheme in _STREAMS:
        from runtime.sources.stream import open_stream

        return open_stream(uri)
    if scheme == "csi":
        from runtime.sources.csi import open_csi

        return open_csi(uri)
    if scheme == "synthetic":
        from runtime.sources.synthetic import open_synthetic

        return open_synthetic(uri)
    raise InputError(f"{shown(uri)} is not a source this version knows", f"expected {INPUTS}")


def frames(source: Source, loop: bool = False) -> Iterator[Frame]:
    """All frames of a source, again and again with ``loop``."""
    while True:
        frame = source.read()
        if frame is not None:
            yield frame
        elif not loop or not source.rewind():
            return


__all__ = ["Asking", "Source", "frames", "open_lasting", "open_source"]
