"""``python -m convert build``: a recipe to a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

from convert.cli.report import print_summary, teller
from convert.recipe import Budget, load_recipe
from runtime.commandline import percent


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("build", help="build a model from a recipe")
    parser.add_argument("recipe", metavar="RECIPE", help="a name python -m convert list shows, or a path to a .toml")
    parser.add_argument("--out", type=Path, default=Path("build/models"), metavar="DIR", help="default: build/models")
    parser.add_argument("--mirror", type=Path, metavar="DIR", help="look for downloads there first")
    parser.add_argument("--calibration", type=Path, metavar="DIR", help="calibration images instead of the recipe's")
    parser.add_argument(
        "--max-drop", type=percent, metavar="POINTS", help="most AP50 that int8 may lose, instead of the recipe's"
    )
    parser.add_argument(
        "--min-agreement", type=percent, metavar="PERCENT", help="least agreement F1, instead of the recipe's"
    )
    parser.add_argument(
        "--max-slowdown", type=percent, metavar="PERCENT", help="slower inference allowed to meet the budget"
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write report.html, .md and .json there (default: beside --out)"
    )
    parser.add_argument("--untrained", action="store_true", help="random weights: to time a network before training it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.build import build

    recipe = load_recipe(arguments.recipe)
    say = teller(recipe.name)
    budget = Budget(arguments.max_drop, arguments.min_agreement, arguments.max_slowdown)
    given = arguments.calibration, arguments.untrained, budget, arguments.report
    done = build(recipe, arguments.out, arguments.mirror, say, *given)
    if done.skipped:
        print(f"{recipe.name}: skipped ({done.skipped}): {done.path}")
    else:
        print(f"{recipe.name}: built {done.path}")
    print_summary(done.card, done.bytes)
    return 0
