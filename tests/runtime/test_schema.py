"""Typed reading of plain data."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.schema import decode, encode


@dataclass(frozen=True)
class Inner:
    size: int
    ratio: float = 1.0


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"]
    inners: tuple[Inner, ...] = ()
    pair: tuple[float, float] = (0.0, 0.0)
    maybe: Inner | None = None
    on: bool = False
    notes: dict[str, str] = field(default_factory=dict)


GOOD: dict[str, Any] = {"name": "x", "kind": "a"}


def test_everything_at_once() -> None:
    data = {
        "name": "x",
        "kind": "b",
        "inners": [{"size": 3}, {"size": 4, "ratio": 2}],
        "pair": [1, 2.5],
        "maybe": {"size": 1},
        "on": True,
        "notes": {"k": "v"},
    }
    outer = decode(Outer, data, "f:")
    assert outer == Outer("x", "b", (Inner(3), Inner(4, 2.0)), (1.0, 2.5), Inner(1), True, {"k": "v"})
    assert decode(Outer, encode(outer), "f:") == outer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "f: name is 3; expected a text"),
        ({"kind": "c"}, "f: kind is 'c'; expected one of a, b"),
        ({"kind": ["a"]}, "f: kind is ['a']; expected one of a, b"),
        ({"inners": [{"size": 1}, {}]}, "f: inners[1] has no field 'size'; expected a whole number"),
        ({"inners": {"size": 1}}, "f: inners is {'size': 1}; expected a list"),
        ({"inners": [{"size": 1.5}]}, "f: inners[0].size is 1.5; expected a whole number"),
        ({"inners": [{"size": True}]}, "f: inners[0].size is True; expected a whole number"),
        ({"inners": [{"size": 1, "ratio": float("nan")}]}, "f: inners[0].ratio is nan; expected a finite number"),
        ({"inners": [{"size": 1, "ratio": 10**400}]}, "f: inners[0].ratio is 1000000"),
        ({"inners": [{"size": 1, "raito": 1}]}, "f: inners[0].raito is not a known field; expected one of size, ratio"),
        ({"pair": [1]}, "f: pair is [1]; expected a list of 2 values"),
        ({"maybe": 5}, "f: maybe is 5; expected a table with size, ratio"),
        ({"on": 1}, "f: on is 1; expected true or false"),
        ({"notes": []}, "f: notes is []; expected a table"),
        ({"name": "x" * 100, "kind": "x" * 100}, "f: kind is 'xxx"),
    ],
)
def test_wrong_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(Outer, GOOD | change, "f:")
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(JSON)
def test_any_data_gives_a_value_or_an_input_error(data: object) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(decode(Outer, data, "f:"), Outer)


@dataclass(frozen=True)
class Cat:
    kind: Literal["cat"]
    lives: int = 9
    name: str = ""


@dataclass(frozen=True)
class Dog:
    kind: Literal["dog", "wolf"]
    name: str
    tricks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stone:
    weight: float
    name: str = ""


@dataclass(frozen=True)
class Owner:
    has: Cat | Dog | Stone | None = None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, None),
        ({"kind": "cat"}, Cat("cat")),
        ({"kind": "wolf", "name": "x"}, Dog("wolf", "x")),
        ({"weight": 2}, Stone(2.0)),
        ({"weight": 2, "name": "x"}, Stone(2.0, "x")),
    ],
)
def test_union_is_told_apart_by_its_fields(data: object, expected: object) -> None:
    assert decode(Owner, {"has": data}, "f:") == Owner(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "owl"}, "f: has.kind is 'owl'; expected one of cat, dog, wolf"),
        ({"kind": "dog", "lives": 3}, "f: has has no field 'name'; expected a text"),
        ({"kind": "cat", "tricks": [], "weight": 1}, "f: has.tricks is not a known field; expected one of kind, lives"),
        ({"lives": 3}, "f: has has no field 'kind'; expected a value"),
        ({"name": "x"}, "f: has has no field"),
        ("dog", "f: has is 'dog'; expected a table with"),
    ],
)
def test_wrong_field_of_a_union(data: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(Owner, {"has": data}, "f:")
    assert str(caught.value).startswith(message)
