"""Class names for a network that has none, or whose names come from another file."""

from __future__ import annotations

from runtime.card import Labels
from runtime.errors import InputError

_BACKGROUND = "background"
_NOTHING = frozenset({"background", "__background__", "unlabeled", "unlabelled", "???", "n/a", "none", "dummy"})
# ImageNet's classes with a background in front.
_IMAGENET_WITH_BACKGROUND = 1001


def is_nothing(name: str) -> bool:
    """Whether a name at the first place stands for "no class"."""
    return name.strip().lower() in _NOTHING


def numbered(count: int) -> tuple[str, ...]:
    """``class 0``, ``class 1``, ..."""
    return tuple(f"class {index}" for index in range(count))


def fit_names(names: tuple[str, ...], count: int) -> Labels | None:
    """Names for a classifier's outputs.

    Args:
        names: Lines of a label file.
        count: Numbers the network gives.

    Returns:
        As many names as outputs, the background among them; ``None`` when the numbers do not fit.
    """
    if len(names) == count:
        return Labels(names, count > 2 and is_nothing(names[0]))
    if len(names) == count - 1 and not is_nothing(names[0]):
        return Labels((_BACKGROUND, *names), True)
    return None


def fit_object_names(names: tuple[str, ...], count: int) -> Labels | None:
    """Names for the classes of a detector that never reports the background; a first line for it is left out."""
    if len(names) == count:
        return Labels(names)
    return Labels(names[1:]) if len(names) == count + 1 and is_nothing(names[0]) else None


def without_names(count: int) -> tuple[Labels, str]:
    """Numbers for a classifier's classes, and what had to be assumed about them."""
    if count == _IMAGENET_WITH_BACKGROUND:
        return Labels((_BACKGROUND, *numbered(count)[1:]), True), "class 0 of 1001 is the background"
    return Labels(numbered(count)), "no class is the background"


def wrong_count(where: str, names: tuple[str, ...], count: int) -> InputError:
    """The error for a label file of the wrong length."""
    return InputError(
        f"{where} has {len(names)} names", f"the model has {count} classes", "give the label file of this model"
    )
