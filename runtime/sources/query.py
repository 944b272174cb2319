"""The part of a source's name behind ``?``: ``key=value`` pairs, checked as closely as flags."""

from __future__ import annotations

from urllib.parse import parse_qsl

from runtime.errors import InputError
from runtime.grammar import is_number

_MAX_DIGITS = 11


class BadNameError(InputError):
    """A name that no second attempt makes right."""


class Query:
    """What a name asks for beyond the thing itself.

    Args:
        uri: The whole name.
        keys: Keys it may have.
        expected: What an error line says would have been right.

    Attributes:
        name: The name without its query.

    Raises:
        BadNameError: Another key.
    """

    def __init__(self, uri: str, keys: tuple[str, ...], expected: str) -> None:
        self._uri = uri
        self._expected = expected
        self.name, _, text = uri.partition("?")
        self._given = dict(parse_qsl(text, keep_blank_values=True))
        for key in self._given:
            if key not in keys:
                raise BadNameError(f"{uri}: unknown key {key!r}", expected)

    def number(self, key: str, default: int, low: int, high: int, extra: str = "") -> int:
        """A whole number in ``low``..``high``; ``extra`` ends the error line.

        Raises:
            BadNameError: Something else.
        """
        return self._parse(key, self._given.get(key, str(default)), low, high, extra)

    def size(self, default: tuple[int, int], low: int = 64, high: int = 4096) -> tuple[int, int]:
        """``size=WIDTHxHEIGHT``, both in ``low``..``high``.

        Raises:
            BadNameError: Something else.
        """
        text = self._given.get("size", f"{default[0]}x{default[1]}")
        width, cross, height = text.lower().partition("x")
        if not cross:
            raise BadNameError(f"{self._uri}: size is {text!r}", "expected WIDTHxHEIGHT such as 640x480")
        return self._parse("size", width, low, high), self._parse("size", height, low, high)

    def word(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of some words, in lower case.

        Raises:
            BadNameError: Another one.
        """
        text = self._given.get(key, default).lower()
        if text not in allowed:
            raise BadNameError(f"{self._uri}: {key} is {text!r}", f"expected {' or '.join(allowed)}")
        return text

    def _parse(self, key: str, text: str, low: int, high: int, extra: str = "") -> int:
        if not is_number(text, _MAX_DIGITS) or not low <= int(text) <= high:
            raise BadNameError(f"{self._uri}: {key} is {text!r}", f"expected {low}..{high}{extra}")
        return int(text)
