"""The accuracy gate: what it lets through, what it stops, and what is left behind when it does."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from convert.accuracy_text import drop
from convert.budget import check_budget, require_objects, stored
from convert.cli import main as convert
from convert.data import read_dataset
from convert.recipe import Budget, load_recipe, save_recipe
from runtime.card import Accuracy
from runtime.commandline import run
from runtime.errors import BudgetError, InputError
from runtime.modelfile import require_card
from tests.conftest import run_module
from tests.convert.test_build import mirror, recipe_in
from tests.convert.test_recipe import write_recipe

__all__ = ["mirror"]


def row(float_ap: float = 50.0, int8_ap: float = 48.5, agreement: float = 90.0) -> Accuracy:
    return Accuracy("made/val", 64, float_ap, 20.0, int8_ap, 19.0, agreement, "made up")


@pytest.mark.parametrize(
    ("measured", "budget", "seen"),
    [
        (row(), None, ""),
        (row(), Budget(1.5), ""),
        (row(), Budget(2.0, 90.0), ""),
        (row(), Budget(0.0), "int8 AP50 is 1.50 points below float; expected at most 0.00 points"),
        (row(50.0, 60.0), Budget(0.0), ""),
        # In binary, 30.0 - 28.7 is a little more than 1.3.
        (row(30.0, 28.7), Budget(1.3), ""),
        (row(50.0, 48.5 - 1e-6), Budget(1.5), "int8 AP50 is 1.500001 points below float; expected at most 1.500000"),
        (row(50.004, 48.496), Budget(1.5), "int8 AP50 is 1.51 points below float; expected at most 1.50 points"),
        (row(), Budget(None, 90.5), "agreement F1 is 90.00 %; expected at least 90.50 %"),
        (row(agreement=89.9999), Budget(None, 90.0), "agreement F1 is 89.9999 %; expected at least 90.0000 %"),
        (
            row(),
            Budget(1.0, 95.0),
            "points below float and agreement F1 is 90.00 %; expected at most 1.00 points and at",
        ),
    ],
)
def test_decision(measured: Accuracy, budget: Budget | None, seen: str) -> None:
    if not seen:
        check_budget([measured], budget)
        return
    with pytest.raises(BudgetError) as caught:
        check_budget([row(50, 50, 100), measured], budget)
    assert seen in str(caught.value)
    assert "budget missed on 64 images of made/val: " in str(caught.value)
    assert caught.value.table.count("accuracy on 64 images") == 2


@pytest.mark.parametrize(("budget", "flags"), [(Budget(1.0), ["--max-drop"]), (Budget(1, 95), ["--max-drop", "--min"])])
def test_error_names_the_flags_that_help(budget: Budget, flags: list[str]) -> None:
    with pytest.raises(BudgetError) as caught:
        check_budget([row()], budget)
    assert [flag in caught.value.action for flag in ("--max-drop", "--min")] == [True, len(flags) > 1]


def test_nothing_was_measured() -> None:
    check_budget([], Budget(0.0))


def test_float_network_that_finds_nothing_cannot_pass() -> None:
    with pytest.raises(InputError, match="the float network has AP50 0 on 64 images"):
        check_budget([row(0, 0, 100)], Budget(1.0))


def test_two_decimals_are_stored() -> None:
    (kept,) = stored([row(50.123456, 1 / 3, 99.999)])
    assert kept == Accuracy("made/val", 64, 50.12, 20.0, 0.33, 19.0, 100.0, "made up")


def test_program_prints_the_table_then_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    def program(argv: Sequence[str]) -> int:
        check_budget([row()], Budget(1.0))
        return 0

    assert run(program, []) == 3
    out, err = capsys.readouterr()
    assert "float    50.0     20.0" in out
    assert "drop      1.5      1.0" in out
    assert err.count("\n") == 1
    assert err.startswith("error: budget missed on 64 images of made/val: int8 AP50 is 1.50 points below float; ")


def quantize(cfg: Path, photos: Path, target: Path, *more: object) -> list[str]:
    return ["quantize", *map(str, [cfg, "-o", target, "--calibration", photos, *more])]


def test_quantize(
    labelled: Path, tiny_cfg: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Budgets just beyond and just short of what the same conversion was measured to cost."""
    target = tmp_path / "out.tflite"
    assert convert(quantize(tiny_cfg, photos, target, "--data", labelled)) == 0
    (measured,) = require_card(target).accuracy
    lost, agreement = drop(measured), measured.agreement_f1
    assert lost is not None
    assert lost > 0.1
    assert agreement < 99.9
    capsys.readouterr()

    met = ("--max-drop", f"{lost + 0.02:.4f}", "--min-agreement", f"{agreement - 0.02:.4f}")
    assert convert(quantize(tiny_cfg, photos, target, "--data", labelled, *met)) == 0
    assert f"{lost:7.1f}" in capsys.readouterr().out
    target.write_bytes(b"the older file")
    for flag, value, seen in (
        ("--max-drop", f"{lost - 0.02:.4f}", "points below float"),
        ("--min-agreement", f"{agreement + 0.02:.4f}", "agreement F1 is"),
    ):
        done = run_module("convert", *quantize(tiny_cfg, photos, target, "--data", labelled, flag, value))
        assert done.returncode == 3, done.stderr
        assert done.stderr.startswith("error: budget missed on 8 images")
        assert done.stderr.count("\n") == 1
        assert seen in done.stderr
        assert flag in done.stderr
        assert f"float  {measured.float_map50:6.1f}" in done.stdout
        assert "wrote" not in done.stdout
        assert target.read_bytes() == b"the older file"
        assert [path.name for path in tmp_path.iterdir()] == ["out.tflite"]


@pytest.mark.parametrize("flag", ["--max-drop", "--min-agreement"])
@pytest.mark.parametrize("value", ["nan", "-1", "100.1", "inf", "much"])
@pytest.mark.parametrize("command", ["quantize", "build"])
def test_bad_numbers(command: str, flag: str, value: str) -> None:
    arguments = ["build", "made"] if command == "build" else quantize(Path("a.cfg"), Path("b"), Path("c.tflite"))
    with pytest.raises(InputError, match=f"argument {flag}: .*{value}"):
        convert([*arguments, f"{flag}={value}"])


@pytest.mark.parametrize("flag", ["--max-drop", "--min-agreement"])
def test_quantize_without_data(flag: str, tiny_cfg: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{flag} without --data"):
        convert(quantize(tiny_cfg, photos, tmp_path / "out.tflite", flag, 1))


def test_pictures_without_objects_are_no_gate(labelled: Path, tiny_cfg: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(labelled, tmp_path / "empty")
    for path in (tmp_path / "empty" / "labels").iterdir():
        path.write_text("")
    require_objects(read_dataset(labelled))
    with pytest.raises(InputError, match=r"none of the 8 images of .*empty has an object; a budget needs annotated"):
        convert(quantize(tiny_cfg, photos, tmp_path / "out.tflite", "--data", tmp_path / "empty", "--max-drop", 1))


@pytest.fixture
def with_data(mirror: Path, labelled: Path) -> Path:
    """A mirror that holds annotated pictures too."""
    shutil.copytree(labelled, mirror / "val")
    return mirror


def build(recipe: Path, out: Path, *more: object) -> list[str]:
    return ["build", str(recipe), "--out", str(out), *map(str, more)]


def test_build(tmp_path: Path, with_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "build" / "models"
    out.mkdir(parents=True)
    target = out / "made.tflite"
    target.write_bytes(b"the older file")
    recipe = recipe_in(tmp_path, with_data, evaluation={"path": "val"}, budget={"max_drop": 0.0})
    with pytest.raises(BudgetError, match=r"below float; expected at most 0\.00"):
        convert(build(recipe, out, "--mirror", with_data))
    assert target.read_bytes() == b"the older file"
    assert [path.name for path in out.iterdir()] == ["made.tflite"]
    capsys.readouterr()

    # The flag takes the place of the recipe's figure, and only of that one.
    assert convert(build(recipe, out, "--mirror", with_data, "--max-drop", 100)) == 0
    assert "made: built" in capsys.readouterr().out
    assert convert(build(recipe, out, "--mirror", with_data, "--max-drop", 100)) == 0
    assert "made: skipped (up to date)" in capsys.readouterr().out
    held = target.read_bytes()

    # The file in place was never held against this budget.
    with pytest.raises(BudgetError, match=r"below float.*expected at most 0.00 points"):
        convert(build(recipe, out, "--mirror", with_data, "--min-agreement", 0))
    assert target.read_bytes() == held


def test_build_without_data(tmp_path: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = recipe_in(tmp_path, mirror, evaluation={"path": "val"}, budget={"max_drop": 0.0})
    out = tmp_path / "build" / "models"
    for flag in ("--max-drop", "--min-agreement"):
        with pytest.raises(InputError, match="made has no annotated images here to hold a budget against"):
            convert(build(recipe, out, "--mirror", mirror, flag, 1))
    assert not out.exists()
    assert convert(build(recipe, out, "--mirror", mirror)) == 0
    assert "made: budget not checked: no annotated images\n" in capsys.readouterr().out
    assert (out / "made.tflite").exists()


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"max_drop": 1.5}, Budget(1.5)),
        ({"max_drop": 0, "min_agreement": 92.0}, Budget(0.0, 92.0)),
        ({"min_agreement": 100}, Budget(None, 100.0)),
        (None, None),
    ],
)
def test_recipe(budget: dict[str, Any] | None, expected: Budget | None, tmp_path: Path) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path, budget=budget)))
    assert recipe.budget == expected
    save_recipe(recipe, tmp_path / "again.toml")
    assert load_recipe(str(tmp_path / "again.toml")).budget == expected


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({}, "budget limits no loss; expected max_drop or min_agreement"),
        ({"max_drop": -0.5}, r"budget.max_drop -0.5; expected a number in 0..100"),
        ({"max_drop": 101}, r"budget.max_drop 101; expected a number in 0..100"),
        ({"max_drop": 1, "min_agreement": -1}, r"budget.min_agreement -1; expected a number in 0..100"),
        ({"max_drop": float("nan")}, r"budget\.max_drop is nan; expected a finite number"),
        ({"max_drop": float("inf")}, r"budget\.max_drop is inf; expected a finite number"),
        ({"max_drop": "1"}, r"budget\.max_drop is '1'; expected a finite number"),
        ({"drop": 1}, r"budget\.drop is not a known field; expected one of max_drop, min_agreement"),
        (3, r"budget is 3; expected a table"),
    ],
)
def test_wrong_recipe(budget: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(str(write_recipe(tmp_path, budget=budget)))
