"""Shapes as plain data: what the page sends, the configuration holds and the state file keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from apps.moment import Shape
from runtime.errors import InputError

_MOST = 64  # shapes
_LONGEST = 40  # characters of a name
_POINTS = {"line": (2, 2), "zone": (3, 32)}
_KEYS = {"name", "kind", "points", "classes"}
_MOST_CLASSES = 100


def shape_as_data(shape: Shape) -> dict[str, Any]:
    """The shape for JSON."""
    points = [list(point) for point in shape.points]
    return {"name": shape.name, "kind": shape.kind, "points": points, "classes": list(shape.classes)}


def read_shapes(data: object) -> tuple[Shape, ...]:
    """Checked shapes.

    Args:
        data: A list of ``{"name", "kind", "points", "classes"}``; ``classes`` may be absent.

    Raises:
        InputError: One line that says which shape is wrong, and how.
    """
    if not _is_list(data) or len(data) > _MOST:
        raise InputError("shapes is not a list of at most 64 lines and zones", "expected name, kind and points of each")
    shapes = tuple(_shape(item, number) for number, item in enumerate(data, 1))
    names = [shape.name for shape in shapes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two shapes are called {name!r}", "expected a name of its own for each", "rename one")
    return shapes


def _shape(data: object, number: int) -> Shape:
    if not isinstance(data, Mapping):
        raise InputError(f"shape {number} is not a table", "expected name, kind and points")
    if unknown := set(data) - _KEYS:
        key = min(map(str, unknown))[:_LONGEST]
        raise InputError(f"shape {number} has an unknown key {key!r}", "expected name, kind, points, classes")
    name = data.get("name")
    if not isinstance(name, str) or not 1 <= len(name.strip()) <= _LONGEST or not name.isprintable():
        raise InputError(f"shape {number} has no usable name", "expected 1 to 40 printable characters")
    kind = data.get("kind")
    if kind != "line" and kind != "zone":
        raise InputError(f"shape {name!r} is of an unknown kind", "expected line or zone")
    points = _points(name, data.get("points"), *_POINTS[kind])
    if kind == "line" and points[0] == points[1]:
        raise InputError(f"line {name!r} has no length", "expected two different points")
    return Shape(name.strip(), kind, points, _classes(name, data.get("classes", ())))


def _points(name: str, data: object, least: int, most: int) -> tuple[tuple[float, float], ...]:
    expected = f"expected {least if least == most else f'{least} to {most}'} points [x, y] with numbers in 0..1"
    if not _is_list(data) or not least <= len(data) <= most:
        raise InputError(f"the points of shape {name!r} do not fit", expected)
    points = []
    for point in data:
        if not _is_list(point) or len(point) != 2 or not all(_is_share(value) for value in point):
            raise InputError(f"the points of shape {name!r} do not fit", expected)
        points.append((float(point[0]), float(point[1])))
    return tuple(points)


def _classes(name: str, data: object) -> tuple[str, ...]:
    if not _is_list(data) or len(data) > _MOST_CLASSES or not all(map(_is_text, data)):
        raise InputError(
            f"the classes of shape {name!r} are not a list of names", "expected class names, or none for all"
        )
    return tuple(data)


def _is_share(value: object) -> bool:
    # Written so that NaN fails.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_text(value: object) -> bool:
    # Half of a UTF-16 pair, which JSON can write as \ud800, is no text: nothing that holds it could be sent or kept.
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _is_list(data: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(data, Sequence) and not isinstance(data, (str, bytes))
