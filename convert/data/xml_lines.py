"""XML with line numbers, for files nobody vouches for.

A label needs no document type, so one is refused: without it there are no entities to expand and nothing to fetch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

# A label file of a thousand objects has about 300 kB.
MAX_BYTES = 4 << 20
_MAX_DEPTH = 100


class XmlError(Exception):
    """A file that is not XML this program reads.

    Attributes:
        line: Where, from 1; 0 when the whole file is meant.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Element:
    """An element, the pieces of its own text, and its children."""

    tag: str
    line: int
    texts: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)

    def find(self, tag: str) -> Element | None:
        """The first child of that tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def value(self, tag: str) -> str:
        """Text of the first child of that tag, without white space around it; empty where there is none."""
        child = self.find(tag)
        return "".join(child.texts).strip() if child else ""


def read_xml(path: Path) -> Element:
    """The root element of a file.

    Raises:
        XmlError: Missing, empty, too large, with a document type, or not well-formed.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise XmlError(0, f"cannot be read ({error.strerror or error})") from None
    if size > MAX_BYTES:
        raise XmlError(0, f"has {size} bytes")
    if not data:
        raise XmlError(0, "is empty (0 bytes)")
    return _Parser().parse(data)


class _Parser:
    def __init__(self) -> None:
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._text
        self._expat.StartDoctypeDeclHandler = self._doctype
        self._stack: list[Element] = []
        self._root: Element | None = None

    def parse(self, data: bytes) -> Element:
        try:
            self._expat.Parse(data, True)
        except expat.ExpatError as error:
            raise XmlError(error.lineno, expat.errors.messages.get(error.code, "not well-formed")) from None
        except (ValueError, LookupError):
            # An encoding Python does not know, or cannot decode by the byte.
            raise XmlError(1, "unknown encoding") from None
        if self._root is None:
            raise XmlError(0, "has no element")
        return self._root

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, self._expat.CurrentLineNumber)
        if len(self._stack) >= _MAX_DEPTH:
            raise XmlError(element.line, "elements are nested too deep")
        if self._stack:
            self._stack[-1].children.append(element)
        else:
            self._root = element
        self._stack.append(element)

    def _end(self, tag: str) -> None:
        self._stack.pop()

    def _text(self, data: str) -> None:
        if self._stack:
            self._stack[-1].texts.append(data)

    def _doctype(self, *_: object) -> None:
        raise XmlError(self._expat.CurrentLineNumber, "has a DOCTYPE, which labels do not need")
