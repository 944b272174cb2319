"""JSON lists with the line of each item.

Python's decoder does not tell lines, and a message about one of a million annotations is no use without one. So the
outermost object is walked here, and its values, and the items of the lists it holds, are decoded one by one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from runtime.errors import InputError
from runtime.files import check_file

# COCO's own instances_train2017.json has 448 MB.
MAX_BYTES = 512 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


class Item(NamedTuple):
    """A value and its line, from 1."""

    line: int
    value: Any


def read_lists(path: Path) -> dict[str, list[Item]]:
    """The lists of a file that holds one JSON object, by key; its other values are left out.

    Raises:
        InputError: Missing, empty, too large, or not a JSON object.
    """
    check_file(path, "COCO annotations")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"{path} has {size} bytes", "expected COCO annotations", "check the path")
    try:
        return _Walker(path.read_bytes().decode("utf-8-sig")).lists()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text", "expected COCO annotations", "check the path") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: malformed: {error.msg}", "expected JSON", "check the file") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deep", "expected COCO annotations", "check the path") from None
    except ValueError:
        raise InputError(f"{path} has a number of thousands of digits", "expected COCO annotations") from None


class _Walker:
    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()
        self._at = 0
        self._counted, self._line = 0, 1

    def lists(self) -> dict[str, list[Item]]:
        found: dict[str, list[Item]] = {}
        self._expect("{")
        if self._peek() != "}":
            while True:
                key = self._value()
                if not isinstance(key, str):
                    raise json.JSONDecodeError("Expecting a name in quotes", self._text, self._at)
                self._expect(":")
                if self._peek() == "[":
                    found[key] = self._list()
                else:
                    self._value()
                if self._peek() != ",":
                    break
                self._at += 1
        self._expect("}")
        if self._peek():
            raise json.JSONDecodeError("Extra data", self._text, self._at)
        return found

    def _list(self) -> list[Item]:
        self._at += 1
        items: list[Item] = []
        if self._peek() != "]":
            while True:
                self._peek()
                line = self._line_here()
                items.append(Item(line, self._value()))
                if self._peek() != ",":
                    break
                self._at += 1
        self._expect("]")
        return items

    def _peek(self) -> str:
        """The next character that is not white space, without taking it; empty at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _expect(self, char: str) -> None:
        if self._peek() != char:
            raise json.JSONDecodeError(f"Expecting '{char}'", self._text, self._at)
        self._at += 1

    def _value(self) -> Any:
        self._peek()
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        return value

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
