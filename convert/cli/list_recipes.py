"""``python -m convert list``: the recipes."""

from __future__ import annotations

import argparse

from convert.recipe import load_recipe, recipe_names


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("list", help="list the models that can be built")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    for name in recipe_names():
        recipe = load_recipe(name)
        print(f"{recipe.name:24} {recipe.task:9} {recipe.title}; licence: {recipe.licence}")
    return 0
