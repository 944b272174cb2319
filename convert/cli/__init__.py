"""``python -m convert COMMAND``: one module per command."""

from __future__ import annotations

from collections.abc import Sequence

from convert.cli import build, evaluate, list_recipes, quantize
from runtime.commandline import Parser


def main(argv: Sequence[str]) -> int:
    """Parses the command line and runs one command."""
    parser = Parser(prog="python -m convert", description="Turn float networks into Edgewren model files.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for module in (list_recipes, build, quantize, evaluate):
        module.add_parser(commands)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status
