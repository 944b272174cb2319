"""The options of a custom op: a flat map of numbers as a FlexBuffer.

Only what ``TFLite_Detection_PostProcess`` writes is read: a map from text to integers, floats and booleans
(https://flatbuffers.dev/flatbuffers_internals/#flexbuffers). Anything else in it is left out.
"""

from __future__ import annotations

import struct

from runtime.foreign.flatbuffer import DamagedError

_INT, _UINT, _FLOAT, _MAP, _BOOL = 1, 2, 3, 9, 26
_LETTERS = {_INT: "bhiq", _UINT: "BHIQ", _FLOAT: " efd", _BOOL: "BHIQ"}
_MAX_ENTRIES = 1000


def read_map(data: bytes) -> dict[str, float]:
    """Numbers by name; booleans as 0 and 1.

    Raises:
        DamagedError: Not a map, or one that points out of the data.
    """
    if len(data) < 3 or data[-2] >> 2 != _MAP:
        raise DamagedError("no map of options")
    width = data[-1]
    values = _follow(data, len(data) - 2 - width, width)
    width = 1 << (data[-2] & 3)
    count = _unsigned(data, values - width, width)
    if count > _MAX_ENTRIES:
        raise DamagedError(f"a map of {count} options")
    keys = _follow(data, values - 3 * width, width)
    key_width = _unsigned(data, values - 2 * width, width)
    found: dict[str, float] = {}
    for index in range(count):
        kind = _unsigned(data, values + count * width + index, 1) >> 2
        if kind in _LETTERS:
            name = _text(data, _follow(data, keys + index * key_width, key_width))
            found[name] = _number(data, values + index * width, width, _LETTERS[kind])
    return found


def _follow(data: bytes, place: int, width: int) -> int:
    return place - _unsigned(data, place, width)


def _unsigned(data: bytes, place: int, width: int) -> int:
    return int(_number(data, place, width, "BHIQ"))


def _number(data: bytes, place: int, width: int, letters: str) -> float:
    if width not in (1, 2, 4, 8) or not 0 <= place <= len(data) - width:
        raise DamagedError(f"an option at byte {place} of {len(data)}")
    letter = letters[width.bit_length() - 1]
    if letter == " ":
        raise DamagedError("a float of one byte")
    number: float = struct.unpack_from("<" + letter, data, place)[0]
    return number


def _text(data: bytes, place: int) -> str:
    end = data.find(b"\0", place) if 0 <= place < len(data) else -1
    if end < 0:
        raise DamagedError("a name without an end")
    return data[place:end].decode("utf-8", "replace")
