"""What the live app keeps on disk: recordings, event clips and snapshots in one folder with a quota."""

from __future__ import annotations

from apps.media.output import MediaOptions, MediaOutput
from apps.media.store import Media, MediaStore

__all__ = ["Media", "MediaOptions", "MediaOutput", "MediaStore"]
