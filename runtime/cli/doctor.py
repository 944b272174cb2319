"""``python -m runtime doctor``: is this machine ready?"""

from __future__ import annotations

import argparse
import json


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("doctor", help="check this machine and say how to fix what is wrong")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; exit status 1 when a check failed."""
    from runtime.doctor import examine

    checks = examine()
    if arguments.json:
        print(json.dumps({"checks": [check.to_dict() for check in checks]}, indent=1))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:12} {check.detail}")
            if check.fix:
                print(f"      {'':12} -> {check.fix}")
    return 0 if all(check.ok for check in checks) else 1
