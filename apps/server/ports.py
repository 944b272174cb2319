"""What the page's server needs of others, and no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol


class Entry(Protocol):
    """One stored file.

    Attributes:
        name: By which it is asked for; no path.
        kind: What it is.
        bytes: Its size.
        when: Seconds since 1970.
        event: Number of the first event a clip shows; of a clip's own thumbnail, a ``snapshot``, likewise; ``None`` for
            all others.
        last_event: Of the last event a clip shows.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Literal["recording", "clip", "snapshot"]: ...
    @property
    def bytes(self) -> int: ...
    @property
    def when(self) -> float: ...
    @property
    def event(self) -> int | None: ...
    @property
    def last_event(self) -> int | None: ...


class Library(Protocol):
    """The stored recordings, clips and snapshots. Safe from any thread, and quick."""

    def entries(self) -> Sequence[Entry]:
        """All complete files, newest first."""

    def find(self, name: str) -> Path | None:
        """The file of a listed name; ``None`` for every other text."""


Metrics = Callable[[], str | bytes]
"""The text Prometheus reads."""

Health = Callable[[], tuple[bool, str]]
"""Whether the session works, and how it does in a line."""
