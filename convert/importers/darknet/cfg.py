"""Reading of Darknet ``.cfg`` files.

The format is the one of Darknet's ``src/parser.c``: ``[section]`` headers, ``key=value`` lines, ``#`` and ``;``
comments, and white space that means nothing. Sections repeat and their order is the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from runtime.errors import InputError
from runtime.files import read_text

N = TypeVar("N", int, float)


@dataclass
class Section:
    """One ``[kind]`` block.

    Attributes:
        kind: Name between the brackets.
        line: Line number of the header, from 1.
        index: Darknet's layer number (``[net]`` is -1, the first layer 0).
        file: Name of the file, for error texts.
        options: Value and line number by key.
    """

    kind: str
    line: int
    index: int
    file: str
    options: dict[str, tuple[str, int]] = field(default_factory=dict)

    def where(self, key: str | None = None) -> str:
        """``file.cfg line 12 [convolutional]``, the start of every error text about this section."""
        line = self.options[key][1] if key in self.options else self.line
        return f"{self.file} line {line} [{self.kind}]"

    def text(self, key: str, default: str) -> str:
        """A text option."""
        return self.options[key][0] if key in self.options else default

    def integer(self, key: str, default: int, *, low: int = 0, high: int = 1 << 16) -> int:
        """A whole number in ``low..high``.

        Raises:
            InputError: Not a whole number or out of range.
        """
        return self._in_range(key, self.integers(key, (default,)), low, high)

    def integers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """A comma-separated list of whole numbers.

        Raises:
            InputError: Something else.
        """
        return self._numbers(key, default, int, "whole numbers")

    def number(self, key: str, default: float) -> float:
        """A decimal number."""
        return self.numbers(key, (default,))[0]

    def numbers(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """A comma-separated list of decimal numbers.

        Raises:
            InputError: Something else.
        """
        return self._numbers(key, default, float, "numbers")

    def required(self, key: str) -> None:
        """Raises an error when the option is absent."""
        if key not in self.options:
            raise InputError(f"{self.where()} has no '{key}='", f"a [{self.kind}] needs one")

    def _numbers(self, key: str, default: tuple[N, ...], kind: type[N], expected: str) -> tuple[N, ...]:
        if key not in self.options:
            return default
        parts = [part for part in self.options[key][0].split(",") if part]
        try:
            values = tuple(kind(part) for part in parts)
        except ValueError:
            values = ()
        if not values or any(value != value or abs(value) > 1e9 for value in values):
            raise InputError(f"{self.where(key)} has {key}={self.options[key][0]}", f"expected {expected}")
        return values

    def _in_range(self, key: str, values: tuple[int, ...], low: int, high: int) -> int:
        if len(values) != 1 or not low <= values[0] <= high:
            raise InputError(
                f"{self.where(key)} has {key}={self.text(key, str(values[0]))}",
                f"expected one whole number in {low}..{high}",
            )
        return values[0]


def read_cfg(path: Path) -> list[Section]:
    """Splits a ``.cfg`` file into its sections, ``[net]`` first.

    Raises:
        InputError: The file cannot be read, is empty, is not text, has a line that is neither a header nor
            ``key=value``, or does not start with ``[net]``.
    """
    sections: list[Section] = []
    for number, raw in enumerate(read_text(path, "a Darknet .cfg file").splitlines(), start=1):
        line = "".join(raw.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            if not line.endswith("]"):
                raise InputError(f"{path.name} line {number} is '{raw.strip()}'", "expected a [section] header")
            sections.append(Section(line[1:-1].lower(), number, len(sections) - 1, path.name))
        else:
            key, equals, value = line.partition("=")
            if not equals or not sections:
                raise InputError(
                    f"{path.name} line {number} is '{raw.strip()[:60]}'", "expected [section] or key=value"
                )
            # Darknet looks options up from the front, so the first of two equal keys counts.
            sections[-1].options.setdefault(key.lower(), (value, number))
    if not sections or sections[0].kind not in ("net", "network"):
        first = f"[{sections[0].kind}]" if sections else "nothing"
        raise InputError(f"{path.name} starts with {first}", "expected [net]", "give a Darknet .cfg file")
    return sections
