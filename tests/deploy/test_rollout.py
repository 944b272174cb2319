"""How many boards of a fleet are updated at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import engine
from deploy.cli import main
from deploy.engine import Rollout, run_play
from runtime.errors import InputError


@pytest.mark.parametrize(
    ("rollout", "batches"),
    [(Rollout(), [1, 10]), (Rollout(canary=2, batch=5), [2, 5]), (Rollout(canary=0, batch=5), [5]), (None, ["100%"])],
)
def test_batches_that_ansible_gets(
    rollout: Rollout | None, batches: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def play(command: list[str], *_: object) -> dict[str, object]:
        variables = next(word for word in command if word.startswith("@"))
        given.append(json.loads(Path(variables[1:]).read_text())["batches"])
        return {}

    monkeypatch.setattr(engine, "_run", play)
    monkeypatch.setattr(engine, "tool", lambda name: name)
    run_play([], {}, rollout=rollout)
    assert given == [batches]


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [("--canary", "-1", "of at least 0"), ("--max-fail", "101", "in 0..100"), ("--max-fail", "-1", "in 0..100")],
)
def test_numbers_that_make_no_sense_are_refused(flag: str, value: str, expected: str) -> None:
    with pytest.raises(InputError, match=f"{flag}: {value} is not a whole number {expected}"):
        main(["install", "--inventory", "boards.yml", f"{flag}={value}"])
