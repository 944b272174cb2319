"""Checkpoints: whole or absent, whatever happens."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.train.checkpoint import State, load_state, save_state
from runtime.errors import InputError, RunError
from tests.conftest import ROOT
from tests.waiting import Patience


def make_state(step: int = 7) -> State:
    random = np.random.default_rng(step)
    weights = [random.normal(0, 1, shape).astype(np.float32) for shape in ((3, 3, 2, 4), (4,), ())]
    optimizer: list[Any] = [np.asarray(step, np.int64), *weights, np.array([1e-30, np.inf], np.float32)]
    log = [{"step": 5, "loss": 0.25, "set AP50": 12.5}]
    return State(step, weights, [weight * 2 for weight in weights], optimizer, log, 12.75)


def assert_same(found: State | None, expected: State) -> None:
    assert found is not None
    assert (found.step, found.log, found.seconds) == (expected.step, expected.log, expected.seconds)
    for group in ("weights", "averages", "optimizer"):
        mine, theirs = getattr(found, group), getattr(expected, group)
        assert [array.dtype for array in mine] == [array.dtype for array in theirs]
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    assert load_state(path, "plan") is None
    save_state(path, make_state(), "plan")
    assert_same(load_state(path, "plan"), make_state())
    save_state(path, make_state(8), "plan")
    assert_same(load_state(path, "plan"), make_state(8))
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]


def test_many_arrays_keep_their_order(tmp_path: Path) -> None:
    weights: list[Any] = [np.array([index], np.float32) for index in range(1100)]
    save_state(tmp_path / "s.npz", State(0, weights, [], []), "plan")
    assert_same(load_state(tmp_path / "s.npz", "plan"), State(0, weights, [], []))


def test_another_plan_is_not_continued(tmp_path: Path) -> None:
    save_state(tmp_path / "s.npz", make_state(), "plan")
    assert load_state(tmp_path / "s.npz", "another") is None


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"not a checkpoint",
    "zip magic": b"PK\x03\x04" + bytes(100),
    "one array": npy(np.zeros(3)),
    "pickled": npy(np.array([{}], object)),
    "no facts": npz(weights_0000=np.zeros(3)),
    "facts are no json": npz(facts=np.array("{")),
    "facts are a list": npz(facts=np.array("[]")),
    "facts without a step": npz(facts=np.array(json.dumps({"plan": "plan", "log": []}))),
    "pickled facts": npz(facts=np.array([{}], object)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    path.write_bytes(BROKEN[name])
    with pytest.raises(InputError, match=r"s\.npz is not a checkpoint .*; delete it to start over"):
        load_state(path, "plan")


def test_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkpoint"):
        load_state(tmp_path, "plan")


def test_any_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_state(path, make_state(), "plan")
    data = path.read_bytes()
    for size in {0, 1, 4, 30, *range(100, len(data), 97), len(data) - 1}:
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match="is not a checkpoint"):
            load_state(path, "plan")


def test_any_wrong_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    save_state(path, make_state(), "plan")
    data = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for position in random.choice(len(data), 400, replace=False).tolist():
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            found = load_state(path, "plan")
        except InputError:
            refused += 1
        else:
            assert_same(found, make_state())
    assert refused > 200


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        save_state(tmp_path / "missing" / "s.npz", make_state(), "plan")


def test_failed_save_keeps_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.npz"
    save_state(path, make_state(), "plan")

    def full(stream: Any, **arrays: Any) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(RunError, match=r"\(no space left on device\); free disk space"):
        save_state(path, make_state(8), "plan")
    assert_same(load_state(path, "plan"), make_state())
    assert [file.name for file in tmp_path.iterdir()] == ["s.npz"]


SAVER = """
import sys
from pathlib import Path
import numpy as np
from convert.train.checkpoint import State, save_state
step = 0
while True:
    step += 1
    arrays = [np.full(200_000, step, np.float32)] * 3
    save_state(Path(sys.argv[1]), State(step, arrays, arrays, arrays), "plan")
"""


def test_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    """Killed at any moment after its first save; a save that was under way counts as not begun."""
    path = tmp_path / "s.npz"
    random = np.random.default_rng(1)
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", SAVER, str(path)], cwd=ROOT)
        before = path.stat().st_mtime_ns if path.exists() else 0
        patience = Patience(30)
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert patience.lasts()
            assert child.poll() is None
            time.sleep(0.002)
        time.sleep(float(random.uniform(0, 0.05)))
        child.send_signal(signal.SIGKILL)
        child.wait()
        state = load_state(path, "plan")
        assert state is not None
        for array in [*state.weights, *state.averages, *state.optimizer]:
            assert (array == state.step).all()
