"""``python -m deploy COMMAND``: what ``make deploy`` and its relatives run."""

import sys

from deploy.cli import main
from runtime.commandline import run

if __name__ == "__main__":
    sys.exit(run(main))
