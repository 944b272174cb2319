"""``python -m convert COMMAND``: one module per command."""

from __future__ import annotations

from collections.abc import Sequence

from convert.cli import build, debug, evaluate, list_recipes, prune, quantize, show, train
from runtime.commandline import run_command


def main(argv: Sequence[str]) -> int:
    """Parses the command line and runs one command."""
    commands = (list_recipes, build, train, prune, quantize, evaluate, debug, show)
    return run_command(argv, "python -m convert", "Turn float networks into Edgewren model files.", commands)
