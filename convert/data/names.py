"""Class names of one list found in another.

The same class is spelled in many ways: ``traffic light`` and ``trafficlight``, ``Golden_retriever`` and ``golden
retriever``, ``tench`` and ``tench, Tinca tinca``, VOC's ``sofa`` and COCO's ``couch``. An exact match comes first, and
a loose one counts only where it points to one class alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

# Pascal VOC's words, which Darknet's COCO list keeps, and those of COCO itself.
_COCO_WORDS = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}


def match_names(names: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.int32]:
    """Position of each name among ``labels``, -1 for one that is not there or not certain."""
    steps: tuple[Callable[[str], list[str]], ...] = (_itself, _letters, _synonyms)
    tables = [_places(labels, step) for step in steps]
    found = []
    for name in names:
        hits = ({table.get(key, -1) for key in step(name)} - {-1} for step, table in zip(steps, tables, strict=True))
        found.append(next((hit.pop() for hit in hits if len(hit) == 1), -1))
    return np.array(found, np.int32)


def _itself(name: str) -> list[str]:
    return [name]


def _letters(name: str) -> list[str]:
    """The name without case, spaces and signs, in COCO's words."""
    key = "".join(char for char in name.casefold() if char.isalnum())
    return [_COCO_WORDS.get(key, key)] if key else []


def _synonyms(name: str) -> list[str]:
    """Each part of a list such as ImageNet's ``tench, Tinca tinca``."""
    return list(dict.fromkeys(key for part in name.split(",") for key in _letters(part)))


def _places(labels: Sequence[str], step: Callable[[str], list[str]]) -> dict[str, int]:
    """Position by key; a key that several labels have is left out."""
    keys = [(key, place) for place, label in enumerate(labels) for key in step(label)]
    counts = Counter(key for key, _ in keys)
    return {key: place for key, place in keys if counts[key] == 1}
