"""Recordings, clips and snapshots as one output of the live app."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from apps.media.clips import ClipOutput
from apps.media.recorder import SEGMENT_S, Recorder
from apps.media.snapshots import save_snapshot
from apps.media.store import MediaStore
from apps.media.worker import Notify
from apps.moment import Figures, Moment


@dataclass(frozen=True)
class MediaOptions:
    """How media are kept.

    Attributes:
        quota_mb: Most megabytes (1e6 bytes) of all files together; the oldest go first.
        keep_free_mb: Megabytes of the disk that stay free.
        record: Whether it records from the start.
        record_boxes: Whether boxes are drawn on recordings.
        record_fps: Frames per second of recordings, at most.
        segment_s: Seconds per file of a recording.
        clips: Whether events are stored as clips.
        clip_before_s: Seconds of a clip before its first event.
        clip_after_s: Seconds after its last one.
    """

    quota_mb: int = 2000
    keep_free_mb: int = 100
    record: bool = False
    record_boxes: bool = True
    record_fps: float = 30.0
    segment_s: float = SEGMENT_S
    clips: bool = True
    clip_before_s: float = 5.0
    clip_after_s: float = 5.0


class MediaOutput:
    """Keeps media in one folder; an :class:`apps.moment.Output`.

    Args:
        folder: Made when missing; used by one program at a time.
        options: How they are kept.
        notify: Takes what a notice is about and a sentence for the viewer, empty when that is over; from any thread.

    Attributes:
        library: What is stored, for the page.

    Raises:
        InputError: The folder cannot be made or written, or another program uses it.
    """

    def __init__(self, folder: Path, options: MediaOptions | None = None, notify: Notify | None = None) -> None:
        chosen = options or MediaOptions()
        self.library = MediaStore(folder, chosen.quota_mb * 10**6, chosen.keep_free_mb * 10**6)
        self._recorder = Recorder(
            self.library,
            drawn=chosen.record_boxes,
            segment_s=chosen.segment_s,
            most_fps=chosen.record_fps,
            notify=notify,
        )
        self._clips: ClipOutput | None = None
        if chosen.clips:
            self._clips = ClipOutput(
                self.library, before_s=chosen.clip_before_s, after_s=chosen.clip_after_s, notify=notify
            )
        self.record(chosen.record)

    @property
    def recording(self) -> bool:
        """Whether a recording is switched on."""
        return self._recorder.recording

    @property
    def dropped(self) -> int:
        """Frames left out of recordings and clips because writing fell behind."""
        return self._recorder.dropped + (self._clips.dropped if self._clips else 0)

    @property
    def waiting(self) -> int:
        """Frames that were taken and are not written yet."""
        return self._recorder.waiting + (self._clips.waiting if self._clips else 0)

    def record(self, on: bool) -> None:
        """Switches the recording on or off; returns at once."""
        if on:
            self._recorder.start()
        else:
            self._recorder.stop()

    def snapshot(self, moment: Moment) -> str:
        """Stores a moment with its boxes as JPEG; returns its name.

        Raises:
            InputError: There is no room for it.
        """
        return save_snapshot(self.library, moment)

    def show(self, moment: Moment) -> None:
        """Takes one moment."""
        self._recorder.show(moment)
        if self._clips:
            self._clips.show(moment)

    def tell(self, figures: Figures) -> None:
        """Media hold pictures only."""

    def close(self) -> None:
        """Completes everything, and frees the folder even if something cannot be completed."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.library.close)
            if self._clips:
                stack.callback(self._clips.close)
            stack.callback(self._recorder.close)
