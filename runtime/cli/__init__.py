"""``python -m runtime COMMAND``: one module per command."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.commandline import run_command


def main(argv: Sequence[str]) -> int:
    """Parses the command line and runs one command."""
    commands = {name: f"runtime.cli.{name}" for name in ("detect", "classify", "info", "bench", "doctor")}
    return run_command(argv, "python -m runtime", "Run Edgewren model files on this machine.", commands)
