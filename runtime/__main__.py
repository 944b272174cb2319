"""``python -m runtime``: the device side's commands."""

import sys

from runtime.cli import main
from runtime.commandline import run

if __name__ == "__main__":
    sys.exit(run(main))
