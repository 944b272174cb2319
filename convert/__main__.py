"""``python -m convert``: the workstation side's commands."""

import sys

from convert.cli import main
from runtime.commandline import run

if __name__ == "__main__":
    sys.exit(run(main))
