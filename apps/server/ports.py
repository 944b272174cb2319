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
        event: Number of the event a clip belongs to; ``None`` for all others.
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


class Library(Protocol):
    """The stored recordings, clips and snapshots. Safe from any thread, and quick."""

    def entries(self) -> Sequence[Entry]:
        """All complete files, newest first."""

    def find(self, name: str) -> Path | None:
        """The file of a listed name; ``None`` for every other text."""


Metrics = Callable[[], str]
"""The text Prometheus reads."""

Health = Callable[[], tuple[bool, str]]
"""Whether the session works, and how it does in a line."""
