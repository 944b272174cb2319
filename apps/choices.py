"""What a viewer may change to: models and sources by names that give nothing away."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runtime.grammar import shown


def named_models(paths: Iterable[Path]) -> dict[str, Path]:
    """Model files by the name of the file; of two with the same name, the second one is numbered."""
    found: dict[str, Path] = {}
    for path in paths:
        if path not in found.values():
            found[_unique(path.stem, found)] = path
    return found


def named_sources(uris: Iterable[str]) -> dict[str, str]:
    """Sources by what they are called on the page: without passwords, files without their folders."""
    found: dict[str, str] = {}
    for uri in uris:
        if uri not in found.values():
            found[_unique(source_name(uri), found)] = uri
    return found


def source_name(uri: str) -> str:
    """A source as it may be shown to others."""
    if "://" not in uri:
        return Path(uri).name or uri
    name = shown(uri).replace("***@", "", 1)
    # What stands there is a wish of ours to a camera; a made scene's is what it shows.
    return name if uri.startswith("synthetic://") else name.partition("?")[0]


def _unique(name: str, taken: Iterable[str]) -> str:
    count, unique = 1, name
    while unique in taken:
        count += 1
        unique = f"{name} {count}"
    return unique
