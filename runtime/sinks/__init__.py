"""Where results go: files of several kinds, chosen by name. ``apps`` adds the ones that need a screen or a network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from runtime.detections import Detections
from runtime.errors import InputError
from runtime.frame import Frame
from runtime.grammar import OUTPUTS, VIDEO_SUFFIXES, shown
from runtime.sources import Source
from runtime.sources.images import IMAGE_SUFFIXES

_LIVE = ("display", "http", "mqtt", "mqtts")


class Sink(Protocol):
    """Something that takes results.

    Attributes:
        labels: Class names by class index; may be changed between two frames, for another model.
    """

    labels: tuple[str, ...]

    def write(self, frame: Frame, found: Detections) -> None:
        """Takes one frame and what was found in it."""

    def close(self) -> None:
        """Finishes: after this every file is complete and in place."""


def check_outputs(uris: Sequence[str]) -> None:
    """Refuses an output that is named twice: both would write the same file.

    Raises:
        InputError: One is.
    """
    for index, uri in enumerate(uris):
        if uri in uris[:index]:
            raise InputError(f"output {shown(uri)} is given twice", "expected each once", "leave one out")


def open_sink(uri: str, labels: tuple[str, ...], source: Source, *more: Source) -> Sink:
    """Opens what a name stands for, and fails now rather than after the work.

    Args:
        uri: ``json://-``, ``json://FILE``, ``FILE.mp4``, ``FILE.jpg`` or a folder.
        labels: Class names by class index.
        source: Where the frames come from; gives a video its frame rate.
        more: Further sources; no picture and no film of any is replaced.

    Raises:
        InputError: An unknown kind of name, a place that cannot be written, or one of the inputs.
    """
    if not uri:
        raise InputError("an output has no name", f"expected {OUTPUTS}", "give it one")
    scheme, separator, rest = uri.partition("://")
    if scheme in _LIVE:
        raise InputError(
            f"{uri} shows or sends what is live, which this command does not",
            f"expected {OUTPUTS}",
            f"run python -m apps.live MODEL INPUT {uri}",
        )
    if separator and scheme != "json":
        raise InputError(f"{shown(uri)} is not an output this version knows", f"expected {OUTPUTS}")
    if separator:
        from runtime.sinks.json_lines import JsonSink

        if rest != "-":
            _check_no_original(rest, _originals(source, *more))
        return JsonSink(rest, labels)
    return _open_file(uri, labels, source, *more)


def _open_file(uri: str, labels: tuple[str, ...], source: Source, *more: Source) -> Sink:
    """Opens what draws; only here OpenCV's writers are needed."""
    from runtime.sinks.pictures import FolderSink, PictureSink
    from runtime.sinks.video import VideoSink

    path, originals = Path(uri), _originals(source, *more)
    _check_no_original(uri, originals)
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return VideoSink(path, labels, source.fps, source.live)
    if suffix in IMAGE_SUFFIXES:
        return PictureSink(path, labels)
    if suffix and not path.is_dir():
        raise InputError(f"{uri} ends in {suffix}", f"expected {OUTPUTS}", "choose another output")
    return FolderSink(path, labels, originals)


def _originals(*sources: Source) -> list[Path]:
    """The files that are read."""
    return [path for source in sources for path in getattr(source, "paths", ())]


def _check_no_original(name: str, originals: Sequence[Path]) -> None:
    """Refuses an output that would take the place of what it is made of."""
    if not os.path.isfile(name):
        return
    place = os.path.realpath(name)
    if any(os.path.realpath(path) == place for path in originals):
        raise InputError(f"{name} is an input as well as an output", "expected another file", "name another output")


__all__ = ["Sink", "check_outputs", "open_sink"]
