"""``value`` makes what ``dataclass(frozen=True)`` makes: each test runs on both."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest

from runtime.values import value

Maker = Callable[[type[Any]], type[Any]]


class Plain:
    """The undecorated class; each way of making gets its own copy."""

    name: str
    size: int = 3
    tags: dict[str, int] = field(default_factory=dict)

    @cached_property
    def twice(self) -> int:
        return 2 * self.size


def _copy() -> type[Any]:
    return type("Thing", (), {k: v for k, v in vars(Plain).items() if k not in ("__dict__", "__weakref__")})


@value
class Point:
    x: int
    y: int = 0


@value
class Checked:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("upside down")


@pytest.fixture(params=[dataclass(frozen=True), value], ids=["dataclass", "value"])
def thing(request: pytest.FixtureRequest) -> Any:
    return request.param(_copy())


def test_fields_and_defaults(thing: Any) -> None:
    made = thing("a")
    assert (made.name, made.size, made.tags) == ("a", 3, {})
    assert thing("b", tags={"x": 1}, size=4) == thing("b", 4, {"x": 1})
    assert thing("a").tags is not thing("a").tags
    assert [f.name for f in dataclasses.fields(thing)] == ["name", "size", "tags"]
    assert dataclasses.asdict(made) == {"name": "a", "size": 3, "tags": {}}
    assert dataclasses.replace(made, size=5) == thing("a", 5)
    assert made.twice == 6


def test_comparison_and_text(thing: Any) -> None:
    assert thing("a") != thing("b")
    assert thing("a") != ("a", 3, {})
    assert repr(thing("a", 1)).endswith("Thing(name='a', size=1, tags={})")
    assert copy.deepcopy(thing("a")) == thing("a")
    with pytest.raises(TypeError, match="unhashable"):
        hash(thing("a"))


def test_nothing_can_be_changed(thing: Any) -> None:
    made = thing("a")
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'size'"):
        made.size = 1
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'size'"):
        del made.size


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("a", 1, {}, 2), {}), (("a",), {"name": "b"}), (("a",), {"colour": 1})]
)
def test_wrong_values_are_refused(thing: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        thing(*args, **kwargs)


def test_hash_and_pickle() -> None:
    assert {Point(1), Point(1, 0), Point(2)} == {Point(1), Point(2)}
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)


def test_post_init_is_called() -> None:
    with pytest.raises(ValueError, match="upside down"):
        Checked(2, 1)
