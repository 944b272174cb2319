"""What survives a restart, and what a damaged state file does."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from apps import state as module
from apps.moment import Shape
from apps.scene import Tally
from apps.state import Keeper, State, load_state
from runtime.errors import InputError, RunError

LINE = Shape("door", "line", ((0.1, 0.5), (0.9, 0.5)), ("dog",))
ZONE = Shape("yard", "zone", ((0.0, 0.0), (1.0, 0.0), (0.5, 1.0)))
TALLY = Tally(Counter(dog=3), Counter(dog=1), {})


def written(path: Path, state: State, *, final: bool = True) -> dict[str, Any]:
    keeper = Keeper(path)
    keeper.offer(state)
    keeper.write(final=final)
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_what_is_written_is_read(path: Path) -> None:
    state = State((LINE, ZONE), {"door": TALLY, "yard": Tally(Counter(dog=2), Counter(), {"dog": 12.3})}, 17)
    written(path, state)
    assert load_state(path) == (state, "")
    assert [entry.name for entry in path.parent.iterdir()] == ["state.json"]


def test_nothing_kept_yet(path: Path) -> None:
    assert load_state(path) == (State(), "")


def test_a_killed_program_uses_no_number_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are given out between two writes; the file says one that was never given out."""
    monkeypatch.setattr(module, "_EVERY_S", 0.0)
    keeper, last = Keeper(path), 1
    for _ in range(40):
        keeper.offer(State((), {}, last))
        keeper.write()
        last += 499  # at most so many before the next write
        assert json.loads(path.read_text())["next_event"] >= last
    keeper.offer(State((), {}, last))
    keeper.write(final=True)
    assert json.loads(path.read_text())["next_event"] == last


def test_it_is_written_seldom_and_at_the_end(path: Path) -> None:
    keeper = Keeper(path)
    keeper.offer(State((), {}, 1))
    keeper.write()
    assert not path.exists()
    keeper.write(final=True)
    assert path.exists()


def test_nothing_new_is_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.0)
    keeper = Keeper(path)
    keeper.offer(State((), {}, 1))
    keeper.write()
    path.unlink()
    keeper.write()
    assert not path.exists()


GOOD = {"version": 1, "next_event": 5, "shapes": [], "counts": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\0" * 100,
        "[" * 100_000,
        json.dumps({**GOOD, "version": 2}),
        json.dumps({**GOOD, "next_event": 0}),
        json.dumps({**GOOD, "next_event": "5"}),
        json.dumps({**GOOD, "shapes": [{"name": "a"}]}),
        json.dumps({**GOOD, "counts": []}),
        json.dumps({**GOOD, "counts": {"a": {"into": {"dog": -1}}}}),
        json.dumps({**GOOD, "counts": {"a": {"dwell_s": {"dog": float("nan")}}}}),
        json.dumps({**GOOD, "counts": {"a": 3}}),
        json.dumps({"version": 1}),
    ],
)
def test_a_damaged_file_is_kept_aside(text: str, path: Path) -> None:
    path.write_text(text)
    state, line = load_state(path)
    assert state == State()
    assert "was damaged" in line
    assert "\n" not in line
    assert path.with_name("state.json.damaged").read_text() == text
    assert not path.exists()


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_state(tmp_path / "absent" / "state.json")


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    keeper = Keeper(folder / "state.json")
    keeper.offer(State())
    folder.rmdir()
    with pytest.raises((RunError, InputError), match="no such folder"):
        keeper.write(final=True)
