"""Typed reading of untrusted plain data (parsed JSON or TOML) into dataclasses.

Used for the model card and for recipes, so that a wrong field is one line that names its path instead of a
``KeyError`` later. Unknown fields are refused: in a file a person edits they are nearly always typing errors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from runtime.errors import InputError

T = TypeVar("T")


def decode(kind: type[T], data: object, where: str) -> T:
    """Builds a value of type ``kind`` from plain data.

    Args:
        kind: A dataclass, a union of dataclasses (told apart by their fields), ``bool``, ``int``, ``float``, ``str``,
            ``Literal``, ``X | None``, ``tuple[X, ...]``, ``tuple[X, Y]``, ``dict[str, X]`` or any nesting of these.
        data: What ``json.loads`` or ``tomllib.loads`` returned.
        where: The path to ``data`` for error texts, such as ``card.json: outputs[2]``.

    Raises:
        InputError: A field is missing, unknown, of the wrong type, or a number is not finite.
    """
    return typing.cast(T, _decode(kind, data, where))


def encode(value: object) -> Any:
    """The plain data (dicts, lists, scalars) of a dataclass; the inverse of :func:`decode`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def _decode(kind: Any, data: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, data, where)
    origin = get_origin(kind)
    if origin is Literal:
        if data not in get_args(kind) or isinstance(data, bool):
            raise _wrong(where, data, "one of " + ", ".join(map(str, get_args(kind))))
        return data
    if origin in (Union, types.UnionType):
        return _decode_union(kind, data, where)
    if origin is tuple:
        return _decode_tuple(get_args(kind), data, where)
    if origin is dict:
        if not isinstance(data, dict):
            raise _wrong(where, data, "a table")
        return {str(k): _decode(get_args(kind)[1], v, f"{where}.{k}") for k, v in data.items()}
    return _decode_scalar(kind, data, where)


def _decode_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, data, "a table with " + ", ".join(f.name for f in dataclasses.fields(kind)))
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        if field.name in data:
            values[field.name] = _decode(hints[field.name], data[field.name], _join(where, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where} has no field '{field.name}'", f"expected {_describe(hints[field.name])}")
    unknown = sorted(set(data) - set(values))
    if unknown:
        known = ", ".join(f.name for f in dataclasses.fields(kind))
        raise InputError(f"{_join(where, unknown[0])} is not a known field", f"expected one of {known}")
    return kind(**values)


def _decode_union(kind: Any, data: Any, where: str) -> Any:
    choices = [choice for choice in get_args(kind) if choice is not type(None)]
    if data is None and len(choices) < len(get_args(kind)):
        return None
    return _decode(choices[0] if len(choices) == 1 else _choose(choices, data, where), data, where)


def _choose(choices: list[Any], data: Any, where: str) -> Any:
    """The dataclass whose ``Literal`` fields fit, that shares most fields with the data and lacks fewest."""
    given = data if isinstance(data, dict) else {}
    tags: dict[str, list[Any]] = {}
    for choice in choices:
        for name, hint in typing.get_type_hints(choice).items():
            if get_origin(hint) is Literal:
                tags.setdefault(name, []).extend(get_args(hint))
    for name, allowed in tags.items():
        if name in given and given[name] not in allowed:
            raise _wrong(_join(where, name), given[name], "one of " + ", ".join(map(str, allowed)))

    def fit(choice: Any) -> tuple[int, int, int]:
        hints = typing.get_type_hints(choice)
        fitting = sum(given[name] in get_args(hints[name]) for name in tags if name in given and name in hints)
        needed = [
            field.name
            for field in dataclasses.fields(choice)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        return fitting, len(set(given) & set(hints)), -len(set(needed) - set(given))

    return max(choices, key=fit)


def _decode_tuple(items: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)):
        raise _wrong(where, data, "a list")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_decode(items[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if len(data) != len(items):
        raise _wrong(where, data, f"a list of {len(items)} values")
    return tuple(_decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(items, data, strict=True)))


def _decode_scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is float:
        # A whole number may have more digits than a float can tell.
        with contextlib.suppress(OverflowError):
            if isinstance(data, (int, float)) and not isinstance(data, bool) and math.isfinite(data):
                return float(data)
    elif kind is int:
        if isinstance(data, int) and not isinstance(data, bool):
            return data
    elif kind is bool:
        if isinstance(data, bool):
            return data
    elif kind is str:
        # JSON can write half of a UTF-16 pair, \ud800: nothing that holds it could be printed or sent.
        if isinstance(data, str) and not any("\ud800" <= char <= "\udfff" for char in data):
            return data
    else:
        raise TypeError(f"schema does not support {kind}")
    raise _wrong(where, data, _describe(kind))


def _describe(kind: Any) -> str:
    names = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a text"}
    return names.get(kind, "a value")


def _join(where: str, name: str) -> str:
    return f"{where} {name}" if where.endswith(":") else f"{where}.{name}"


def _wrong(where: str, data: object, expected: str) -> InputError:
    shown = repr(data)
    return InputError(f"{where} is {shown if len(shown) <= 40 else shown[:37] + '...'}", f"expected {expected}")
