"""Immutable values that are quick to declare.

``dataclass(frozen=True)`` compiles six methods for each class, half a millisecond a class on a workstation and several
on a small board; a program that detects once declares some thirty before its first frame. :func:`value` shares
one set of methods among all classes instead. What it makes is a dataclass all the same: ``fields``, ``replace`` and
``asdict`` of :mod:`dataclasses` know it. Making an instance takes a little longer, so what is made per frame stays a
plain dataclass.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def value(cls: type[T]) -> type[T]:
    """Makes a class what ``dataclass(frozen=True)`` makes of it: fields, comparison, hash, ``repr``, no assignment.

    Args:
        cls: Annotated fields, with defaults or ``dataclasses.field(default_factory=..)`` where they may be left out.
            ``__post_init__`` is called as usual; of ``field``'s other options none is known here.
    """
    made = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    for name, method in _METHODS.items():
        if name not in cls.__dict__:
            setattr(made, name, method)
    return made


def _init(self: Any, /, *args: Any, **kwargs: Any) -> None:
    fields = dataclasses.fields(self)
    if len(args) > len(fields):
        raise TypeError(f"{type(self).__name__} takes {len(fields)} values, {len(args)} were given")
    given = dict(zip((field.name for field in fields), args, strict=False))
    if twice := given.keys() & kwargs.keys():
        raise TypeError(f"{type(self).__name__} was given '{min(twice)}' twice")
    given |= kwargs
    for field in fields:
        object.__setattr__(self, field.name, given.pop(field.name) if field.name in given else _default(self, field))
    if given:
        raise TypeError(f"{type(self).__name__} has no field '{min(given)}'")
    if post := getattr(self, "__post_init__", None):
        post()


def _default(self: Any, field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise TypeError(f"{type(self).__name__} needs '{field.name}'")


def _key(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, field.name) for field in dataclasses.fields(self))


def _eq(self: Any, other: object) -> Any:
    return _key(self) == _key(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_key(self))


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse_set(self: Any, name: str, _: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS: dict[str, Any] = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__setattr__": _refuse_set,
    "__delattr__": _refuse_delete,
}
