"""``python -m runtime COMMAND``: one module per command."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.cli import bench, classify, detect, doctor, info
from runtime.commandline import run_command


def main(argv: Sequence[str]) -> int:
    """Parses the command line and runs one command."""
    commands = (detect, classify, info, bench, doctor)
    return run_command(argv, "python -m runtime", "Run Edgewren model files on this machine.", commands)
