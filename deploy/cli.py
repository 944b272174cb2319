"""The commands: ``python -m deploy check | install | rollback | status | logs | undeploy | bench``."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.inventory import fleet, one_board
from deploy.settings import Target
from runtime.commandline import Parser, count, counts, whole
from runtime.errors import InputError


def main(argv: Sequence[str]) -> int:
    """Parses the command line and runs one command."""
    parser = Parser(prog="python -m deploy", description="Put Edgewren on boards, over ssh.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    texts: dict[str, tuple[str, Callable[[argparse.Namespace], int]]] = {
        "check": ("look at boards and say what stands in the way; nothing is changed", _check),
        "install": ("install a release and switch to it; a bad one undoes itself", _install),
        "rollback": ("go back to the release before", _rollback),
        "status": ("what runs, and how it is", _status),
        "logs": ("what the service said; ends with Ctrl-C", _logs),
        "undeploy": ("remove everything", _undeploy),
        "bench": ("time the model there and write the results table", _bench),
    }
    for name, (text, function) in texts.items():
        command = commands.add_parser(name, help=text)
        _add_boards(command)
        if name in ("check", "install"):
            _add_settings(command)
        if name == "logs":
            command.add_argument("--lines", type=count, default=100, help="so many old ones first (default: 100)")
            command.add_argument("--no-follow", action="store_true", help="do not wait for new ones")
        if name == "bench":
            command.add_argument("--threads", type=counts, default=[1, 2, 4], help="thread counts (default: 1,2,4)")
            command.add_argument("--runs", type=count, default=200, help="rounds (default: 200)")
            command.add_argument("--out", type=Path, default=Path("build/boards"), help="folder of the results")
        command.set_defaults(run=function)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def _add_boards(command: argparse.ArgumentParser) -> None:
    command.add_argument("board", nargs="?", default="", metavar="BOARD", help="user@host[:port]")
    command.add_argument("--inventory", type=Path, help="an Ansible inventory instead: a fleet")
    command.add_argument("--limit", default="", help="of the inventory: those of this pattern (Ansible's)")
    command.add_argument("--ssh-config", type=Path, help="ssh's configuration file (ssh -F)")


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", help="a recipe's name or a .tflite file (default: playing-cards)")
    command.add_argument("--source", help="what is watched: 0, csi://0, rtsp://.., synthetic://cards (default: 0)")
    command.add_argument("--port", help="of the live page (default: 8080); 0 for none")
    command.add_argument("--options", help="further words for apps.live, such as --threads=2")
    command.add_argument("--canary", type=_boards, default=1, help="of a fleet: so many boards first (default: 1)")
    command.add_argument("--batch", type=count, default=10, help="so many at once after that (default: 10)")
    command.add_argument("--max-fail", type=_share, default=20, metavar="PERCENT", help="of a batch (default: 20)")
    command.add_argument("--drill", type=_drill, default="", help=argparse.SUPPRESS)


def _boards(text: str) -> int:
    return whole(text, 0)


def _share(text: str) -> int:
    return whole(text, 0, 100)


def _drill(text: str) -> str:
    """Nothing, or a step at which the agent kills itself, or waits with ``hold:`` (``deploy.board.steps``)."""
    from deploy.board.steps import STEPS

    if text and text.removeprefix("hold:") not in STEPS:
        raise argparse.ArgumentTypeError(f"no step is called {text!r}; expected one of {', '.join(STEPS)}")
    return text


def _targets_to_equip(arguments: argparse.Namespace) -> list[Target]:
    """Boards that are to get a release."""
    targets = _targets(arguments)
    for target in targets:
        target.check_model()
    return targets


def _targets(arguments: argparse.Namespace) -> list[Target]:
    values = {name: getattr(arguments, name, None) for name in ("model", "source", "port", "options")}
    given = {name: value for name, value in values.items() if value is not None}
    if arguments.inventory and arguments.board:
        raise InputError("both a board and an inventory", "expected one of them", "leave one out")
    if arguments.inventory:
        if given:
            raise InputError(f"--{next(iter(given))} beside an inventory", "expected it in there", "see docs/deploy.md")
        return fleet(arguments.inventory, arguments.limit)
    return one_board(arguments.board, given)


def _password() -> str:
    """For sudo: from the environment; asked for at a terminal only when a board wants one."""
    return os.environ.get("EDGEWREN_SUDO_PASSWORD", "")


def _ask_password() -> str:
    return getpass.getpass("sudo password on the board: ") if sys.stdin.isatty() else ""


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print(line, file=sys.stderr if line.startswith("error: ") else sys.stdout, flush=True)


def _check(arguments: argparse.Namespace) -> int:
    from deploy.preflight import examine, preflight

    targets = _targets_to_equip(arguments)
    found = preflight(targets, arguments.ssh_config, _password(), _complain)
    for target in targets:
        for finding in examine(target, found[target.name]):
            _say(f"{target.name}: ok  {finding.name:12} {finding.seen}")
    return 0


def _install(arguments: argparse.Namespace) -> int:
    from deploy.actions import install
    from deploy.engine import Rollout

    rollout = Rollout(arguments.canary, arguments.batch, arguments.max_fail) if arguments.inventory else None
    targets = _targets_to_equip(arguments)
    password = _password()
    return install(targets, arguments.ssh_config, password, _ask_password, rollout, arguments.drill, _complain)


def _rollback(arguments: argparse.Namespace) -> int:
    return _everywhere(arguments, "rollback")


def _status(arguments: argparse.Namespace) -> int:
    return _everywhere(arguments, "status")


def _undeploy(arguments: argparse.Namespace) -> int:
    return _everywhere(arguments, "undeploy")


def _everywhere(arguments: argparse.Namespace, command: str) -> int:
    from deploy.actions import everywhere

    return everywhere(_targets(arguments), command, arguments.ssh_config, _password(), _ask_password, _complain)


def _logs(arguments: argparse.Namespace) -> int:
    from deploy.actions import logs

    return logs(_targets(arguments), arguments.ssh_config, arguments.lines, not arguments.no_follow)


def _bench(arguments: argparse.Namespace) -> int:
    from deploy.benchmark import bench

    return bench(_targets(arguments), arguments.ssh_config, arguments.threads, arguments.runs, arguments.out, _say)
