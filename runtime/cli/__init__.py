"""``python -m runtime COMMAND``: one module per command."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.cli import bench, detect, doctor, info
from runtime.commandline import Parser


def main(argv: Sequence[str]) -> int:
    """Parses the command line and runs one command."""
    parser = Parser(prog="python -m runtime", description="Run Edgewren model files on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for module in (detect, info, bench, doctor):
        module.add_parser(commands)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status
