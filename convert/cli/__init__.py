"""``python -m convert COMMAND``: one module per command."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.commandline import run_command
from runtime.errors import InputError

_NAMES = ("build", "train", "prune", "quantize", "evaluate", "debug", "show")
_COMMANDS = {"list": "list_recipes", **{name: name for name in _NAMES}}


def main(argv: Sequence[str]) -> int:
    """Parses the command line and runs one command.

    Raises:
        InputError: An argument that is not UTF-8: model files and TensorFlow take no other names.
    """
    for argument in argv:
        if argument.encode(errors="ignore").decode() != argument:
            raise InputError(f"argument {argument!a} is not UTF-8", "expected names in UTF-8", "rename the file")
    commands = {name: f"convert.cli.{module}" for name, module in _COMMANDS.items()}
    return run_command(argv, "python -m convert", "Turn float networks into Edgewren model files.", commands)
