"""Reading of flatbuffers without their schema's generated code.

A table is a list of optional fields found through a small index (https://flatbuffers.dev/internals); the schema says
which position means what. A model file is untrusted input: every offset and count is checked against the bytes that
are there before anything is read or allocated.
"""

from __future__ import annotations

import mmap
import struct
from typing import Any

Data = bytes | mmap.mmap
_MAX_ITEMS = 1 << 20


class DamagedError(ValueError):
    """An offset or a count that leads out of the data."""


class Table:
    """One table.

    Args:
        data: The whole buffer.
        position: Where the table starts.
    """

    def __init__(self, data: Data, position: int) -> None:
        self._data = data
        self._size = len(data)
        self._position = position
        self._index = position - int(self._read("<i", position))
        self._index_bytes = int(self._read("<H", self._index))

    @classmethod
    def root(cls, data: Data) -> Table:
        """The table a buffer holds."""
        if len(data) < 8:
            raise DamagedError("too short")
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def number(self, slot: int, kind: str, default: float = 0) -> Any:
        """A number field; ``kind`` is ``struct``'s letter for its type."""
        place = self._place(slot)
        return default if place is None else self._read("<" + kind, place)

    def table(self, slot: int) -> Table | None:
        """A field that is a table."""
        place = self._place(slot)
        return None if place is None else Table(self._data, self._follow(place))

    def tables(self, slot: int) -> list[Table]:
        """A field that is a list of tables."""
        start, count = self._vector(slot, 4)
        return [Table(self._data, self._follow(start + 4 * index)) for index in range(count)]

    def text(self, slot: int) -> str:
        """A text field; what is not UTF-8 is replaced."""
        return self.data(slot).decode("utf-8", "replace")

    def data(self, slot: int) -> bytes:
        """A field that is a list of bytes."""
        start, count = self._vector(slot, 1, self._size)
        return bytes(self._data[start : start + count])

    def numbers(self, slot: int, kind: str) -> tuple[Any, ...]:
        """A field that is a list of numbers."""
        start, count = self._vector(slot, struct.calcsize("<" + kind))
        return struct.unpack_from(f"<{count}{kind}", self._data, start)

    def length(self, slot: int) -> int:
        """How many items a list field has."""
        return self._vector(slot, 1, self._size)[1]

    def _place(self, slot: int) -> int | None:
        entry = 4 + 2 * slot
        if entry + 2 > self._index_bytes:
            return None
        offset = int(self._read("<H", self._index + entry))
        return self._position + offset if offset else None

    def _follow(self, place: int) -> int:
        return place + int(self._read("<I", place))

    def _vector(self, slot: int, item_bytes: int, limit: int = _MAX_ITEMS) -> tuple[int, int]:
        place = self._place(slot)
        if place is None:
            return 0, 0
        start = self._follow(place)
        count = int(self._read("<I", start))
        if count > limit or start + 4 + count * item_bytes > self._size:
            raise DamagedError(f"a list of {count} items at byte {start}")
        return start + 4, count

    def _read(self, kind: str, place: int) -> Any:
        if not 0 <= place <= self._size - struct.calcsize(kind):
            raise DamagedError(f"an offset to byte {place} of {self._size}")
        return struct.unpack_from(kind, self._data, place)[0]
