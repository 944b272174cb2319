"""What every Edgewren program does the same way: usage errors, error lines, exit status, interrupts."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from runtime.errors import BudgetError, EdgewrenError, InputError

if TYPE_CHECKING:
    from runtime.card import ModelCard
    from runtime.delegates import DelegateUse

THREADS_HELP = "interpreter threads (default: what bench --tune found, else one per usable core, at most 4)"
# NumPy's and Keras's generators take 32 bits.
MAX_SEED = (1 << 32) - 1
_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit status 2, like all other errors."""

    def error(self, message: str) -> NoReturn:
        """Raises the usage error argparse found.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{self.prog}: {message}", "", f"{self.prog} --help shows what it takes")


def run_command(argv: Sequence[str], prog: str, description: str, modules: Mapping[str, str]) -> int:
    """Parses ``prog COMMAND ...`` and runs the command.

    Args:
        argv: The arguments after ``prog``.
        prog: How the program is called.
        description: What it is for.
        modules: Name of each command's module, in the order of the help text: it has ``add_parser(commands)`` and
            sets ``run`` to what takes the parsed arguments and returns the exit status. Only the command that is
            called is loaded.
    """
    parser = Parser(prog=prog, description=description)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    called = [modules[argv[0]]] if argv and argv[0] in modules else modules.values()
    for module in called:
        importlib.import_module(module).add_parser(commands)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def run(program: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Runs a program and turns its errors into one line on stderr and an exit status.

    Args:
        program: Takes the arguments, returns the exit status.
        argv: The arguments; by default those of this process.
    """
    _open_streams()
    try:
        return program(sys.argv[1:] if argv is None else argv)
    except EdgewrenError as error:
        if isinstance(error, BudgetError) and error.table:
            print(error.table, flush=True)
        print(error.line(), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ImportError as error:
        print(f"error: {error}; expected an installed package; {_install_line(error)}", file=sys.stderr)
        return EdgewrenError.exit_status
    except BrokenPipeError:
        # The reader of our output (head, a pager) has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _INTERRUPTED
    except UnicodeEncodeError as error:
        print(f"error: {error.object[:80]!a} is not UTF-8; expected names in UTF-8; rename it", file=sys.stderr)
        return InputError.exit_status
    except MemoryError:
        print("error: out of memory; expected enough for the model and its input; use a smaller one", file=sys.stderr)
        return EdgewrenError.exit_status
    except OSError as error:
        print(f"error: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return EdgewrenError.exit_status


def _open_streams() -> None:
    """Makes the standard streams take whatever is printed, and stands in for those that were closed.

    File names that are no UTF-8 are printed with escapes. Without a stand-in ``print`` would take standard output for a
    missing stderr, and the next file that is opened would get its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # The lowest number that is free, which is this stream's.
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, as ``timeout`` and service managers send it, ends the work like Ctrl-C: what is written is completed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# Shared libraries that a fresh Debian lacks, and the package that brings each.
_DEBIAN_PACKAGES = {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0", "libEGL.so.1": "libegl1"}
_WORKSTATION_MODULES = ("tensorflow", "keras", "pycocotools", "flatbuffers", "h5py", "matplotlib", "tomli_w", "yaml")


def _install_line(error: ImportError) -> str:
    for library, package in _DEBIAN_PACKAGES.items():
        if library in str(error):
            return f"sudo apt install {package}"
    extra = "convert" if (error.name or "").partition(".")[0] in _WORKSTATION_MODULES else "device"
    return f"pip install 'edgewren[{extra}]'"


class Notes:
    """What a user should know about a model, said once on stderr.

    These are assumptions about a file from elsewhere, and why a delegate is not used. It is said with the first result,
    so that an error before that stays a single line.

    Args:
        card: The model's.
        executor: What runs it.
    """

    def __init__(self, card: ModelCard, executor: object = None) -> None:
        self._lines = []
        if card.assumptions:
            self._lines.append(f"note: {card.name} does not say, assumed: {'; '.join(card.assumptions)}")
        delegate: DelegateUse | None = getattr(executor, "delegate", None)
        if delegate and not delegate.used:
            self._lines.append(delegate_note(delegate.to_dict()))

    def tell(self) -> None:
        """Prints it, the first time."""
        for line in self._lines:
            print(line, file=sys.stderr, flush=True)
        self._lines = []


def delegate_note(use: Mapping[str, Any]) -> str:
    """The line that says why a delegate is not used (``DelegateUse.to_dict``); empty where it is."""
    return "" if use["used"] else f"note: delegate {use['name']} is not used: {use['reason']}; XNNPACK runs the model"


def add_delegate(parser: argparse.ArgumentParser) -> None:
    """Adds ``--delegate`` to a program that runs models; the program shows :func:`delegate_note` or uses ``Notes``."""
    parser.add_argument(
        "--delegate",
        metavar="LIB[:KEY=VALUE,..]",
        help="an external delegate such as libedgetpu.so.1; XNNPACK runs what it does not take",
    )


def whole(text: str, low: int, high: int | None = None) -> int:
    """A whole number in a range, for argparse types."""
    value = int(text)
    if value < low or (high is not None and value > high):
        expected = f"of at least {low}" if high is None else f"in {low}..{high}"
        raise argparse.ArgumentTypeError(f"{text} is not a whole number {expected}")
    return value


def count(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    return whole(text, 1)


def seed(text: str) -> int:
    """An argparse type: a whole number from 1 that random generators take."""
    return whole(text, 1, MAX_SEED)


def size(text: str) -> tuple[int, int]:
    """An argparse type: ``N`` for a square or ``WxH``, in pixels. Returns width and height."""
    width, sign, height = text.lower().partition("x")
    if not width.isdecimal() or (sign and not height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is neither N nor WxH, such as 320 or 320x256")
    return count(width), count(height or width)


def fraction(text: str) -> float:
    """An argparse type: a number in 0..1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number in 0..1")
    return value


def percent(text: str) -> float:
    """An argparse type: a number in 0..100, such as points of accuracy."""
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not a number in 0..100")
    return value


def counts(text: str) -> list[int]:
    """An argparse type: whole numbers of at least 1, separated by commas."""
    return [count(part) for part in text.split(",")]
