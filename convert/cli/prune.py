"""``python -m convert prune``: a smaller network from a large one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from convert.cli.report import print_summary, teller
from convert.prune.plan import NEED_PICTURES, RANKS, REMOVES, PrunePlan, Rank, Target, given_targets
from runtime.commandline import count, percent, seed, size
from runtime.errors import InputError
from runtime.files import check_file, check_writable

if TYPE_CHECKING:
    from convert.prune.schedule import Outcome

_FILES = (".cfg", ".keras", ".h5")
_SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9}


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("prune", help="remove channels or blocks until a network is small or fast enough")
    parser.add_argument(
        "source", metavar="SOURCE", help="a Darknet .cfg, a .keras or .h5, or the name of a recipe that is trained here"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help=".keras (float), .tflite (quantised as well), or .npz (weights for a recipe)",
    )
    target = parser.add_argument_group("where it ends (exactly one)")
    target.add_argument("--ratio", type=number, metavar="R", help="share of the channels that goes, such as 0.3")
    target.add_argument("--macs", type=quantity, metavar="N", help="multiply-accumulates left, such as 60M")
    target.add_argument("--size", type=quantity, metavar="BYTES", help="of the int8 file, such as 400k")
    target.add_argument("--latency", type=number, metavar="MS", help="milliseconds of an int8 inference, one thread")
    target.add_argument("--speedup", type=number, metavar="X", help="times as fast as the whole network, such as 1.5")
    parser.add_argument("--device", metavar="USER@HOST", help="take times on that board over ssh, not here")
    parser.add_argument("--ssh-config", type=Path, metavar="F", help="with --device: ssh's configuration (ssh -F)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="pictures to rank, fit and train on; no labels needed")
    parser.add_argument(
        "--more", type=Path, action="append", default=[], metavar="DIR", help="more pictures to train on; repeatable"
    )
    parser.add_argument("--test", type=Path, metavar="DIR", help="pictures to measure every round on")
    parser.add_argument(
        "--max-drop", type=percent, metavar="POINTS", help="with an annotated --test: most AP50 a round may have lost"
    )
    parser.add_argument(
        "--remove",
        choices=REMOVES,
        default="channels",
        help="channels, or whole residual blocks (default: channels); blocks need --data",
    )
    parser.add_argument("--rank", choices=RANKS, help="how channels are judged (default: taylor; l1 without --data)")
    parser.add_argument("--scope", choices=("global", "layer"), default="global", help="who competes (default: global)")
    parser.add_argument(
        "--multiple", type=count, default=8, metavar="N", help="channels left are a multiple of N (default: 8)"
    )
    parser.add_argument("--rounds", type=count, default=4, metavar="N", help="prune, train, repeat (default: 4)")
    parser.add_argument("--train-steps", type=steps, default=100, metavar="N", help="after each round (default: 100)")
    parser.add_argument("--final-steps", type=steps, default=300, metavar="N", help="after the last (default: 300)")
    parser.add_argument("--learning-rate", type=number, default=3e-4, metavar="X", help="the highest (default: 3e-4)")
    parser.add_argument("--sparsity", choices=("unstructured", "2:4"), help="zeros instead of removed channels")
    parser.add_argument("--weights", type=Path, metavar="F", help="the .cfg's weights (default: beside it)")
    parser.add_argument("--labels", type=Path, metavar="F", help="class names (default: the .names beside the .cfg)")
    parser.add_argument("--input-size", type=size, metavar="N|WxH", help="pixels of a .cfg's input")
    parser.add_argument("--resize", choices=("stretch", "letterbox"), help="how images are fitted to a .cfg's input")
    parser.add_argument("--mirror", type=Path, metavar="DIR", help="look for a recipe's data there first")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for the rounds (default: build/prune/NAME)")
    parser.add_argument("--seed", type=seed, default=1, metavar="N")
    parser.add_argument("--threads", type=count, metavar="N", help="cores to train on (default: all)")
    parser.add_argument("--strict", action="store_true", help="refuse pictures with anything wrong in them")
    parser.add_argument("--fresh", action="store_true", help="start over instead of going on with a killed pruning")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    from convert.cli.train import limit_threads

    target = _target(arguments)
    source = Path(arguments.source)
    is_file = source.suffix.lower() in _FILES
    allowed = (".keras", ".tflite") if is_file else (".npz", ".keras", ".tflite")
    if arguments.output.suffix not in allowed:
        raise InputError(f"output {arguments.output}", f"expected -o OUT ending in {' or '.join(allowed)}")
    check_writable(arguments.output)
    if arguments.max_drop is not None and not arguments.test:
        raise InputError("--max-drop without --test", "a budget is measured on images", "add --test DIR")
    if arguments.ssh_config and not arguments.device:
        raise InputError("--ssh-config without --device", "expected a board to reach with it", "add --device USER@HOST")
    if arguments.learning_rate <= 0:
        raise InputError(f"--learning-rate {arguments.learning_rate:g}", "expected a number above 0")
    limit_threads(arguments.threads)

    from convert.quiet import import_keras

    import_keras()
    from convert.prune import command

    plan = _plan(arguments, target)
    if is_file:
        check_file(source, "a .cfg, .keras or .h5")
        done = command.prune_file(source, plan, arguments, teller(source.stem))
    else:
        done = command.prune_recipe(arguments.source, plan, arguments, teller(arguments.source))
    _report(done.outcome)
    print(f"{done.name}: wrote {arguments.output}")
    if done.result:
        print_summary(done.result.card, done.result.bytes)
    return 0


def _target(arguments: argparse.Namespace) -> Target | None:
    given = given_targets(arguments)
    flags = [f"--{target.goal}" for target in given]
    if arguments.sparsity:
        wanted = ["--ratio"] if arguments.sparsity == "unstructured" else []
        if flags != wanted:
            raise InputError(
                f"--sparsity {arguments.sparsity} with {', '.join(flags) or 'no --ratio'}",
                "expected --ratio for unstructured, and nothing for 2:4, which is a half",
            )
    elif len(given) != 1:
        raise InputError(
            " and ".join(flags) or "no target",
            "expected exactly one of --ratio, --macs, --size, --latency and --speedup",
        )
    if not given:
        return None
    (target,) = given
    if target.goal == "ratio":
        if not 0 < target.value < 1:
            raise InputError(f"--ratio {target.value:g}", "expected a share above 0 and below 1, such as 0.3")
    elif target.value <= 0:
        raise InputError(f"--{target.goal} {target.value:g}", "expected a number above 0")
    return target


def _plan(arguments: argparse.Namespace, target: Target | None) -> PrunePlan:
    recipe = Path(arguments.source).suffix.lower() not in _FILES
    default: Rank = "taylor" if arguments.data or recipe else "l1"
    chosen: Rank = arguments.rank or default
    if chosen in NEED_PICTURES and not arguments.data and not recipe:
        raise InputError(f"--rank {chosen} without --data", "it looks at pictures", "add --data DIR, or --rank l1")
    if arguments.more and not arguments.data:
        raise InputError("--more without --data", "these are trained on beside others", "add --data DIR")
    _check_blocks(arguments, target, recipe)
    _check_sparsity(arguments)
    return PrunePlan(
        target=target or Target("ratio", 0.5),
        remove=arguments.remove,
        rank=chosen,
        scope=arguments.scope,
        multiple=arguments.multiple,
        rounds=arguments.rounds,
        train_steps=arguments.train_steps,
        final_steps=arguments.final_steps,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )


def _check_blocks(arguments: argparse.Namespace, target: Target | None, recipe: bool) -> None:
    if arguments.remove != "blocks":
        return
    flags = [name for name in ("rank", "sparsity") if getattr(arguments, name)]
    if target is not None and target.goal == "ratio":
        flags.append("ratio")
    if flags:
        raise InputError(
            f"--remove blocks with --{flags[0]}", "that is for channels", "give --macs, --size, --latency or --speedup"
        )
    if recipe:
        raise InputError(
            "--remove blocks of a recipe that is trained here",
            "its weights would have no layers to go to",
            "leave out --remove, or give a .cfg or .keras",
        )
    if not arguments.data:
        raise InputError("--remove blocks without --data", "blocks are judged by pictures", "add --data DIR")


def _check_sparsity(arguments: argparse.Namespace) -> None:
    """Zeros are the smallest weights, set once: no ranking, no training, no round to take back."""
    flags = [name for name in ("rank", "more", "max_drop", "device") if getattr(arguments, name) not in (None, [])]
    if arguments.sparsity and flags:
        raise InputError(
            f"--sparsity with --{flags[0].replace('_', '-')}",
            "that is for removed channels",
            "leave it out; python -m convert evaluate holds a file to a budget",
        )
    if arguments.sparsity and arguments.output.suffix == ".npz":
        raise InputError(
            f"--sparsity with output {arguments.output}", "expected -o OUT ending in .keras or .tflite", "choose one"
        )
    if arguments.sparsity and arguments.test and arguments.output.suffix != ".tflite":
        raise InputError(
            f"--sparsity with --test for {arguments.output}",
            "only a .tflite is measured as it is written",
            "leave it out; python -m convert evaluate measures the file",
        )


def _report(outcome: Outcome | None) -> None:
    if outcome is None:
        return
    for point in outcome.points:
        print(f"  {'whole' if not point.round else f'round {point.round}'}: {point.text()}")
    if outcome.stopped:
        print(f"  {outcome.stopped}")
    for line in outcome.parts.unmoved():
        print(f"  {line}")


def number(text: str) -> float:
    """An argparse type: a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise argparse.ArgumentTypeError(f"{text} is not a number one can reach")
    return value


def quantity(text: str) -> float:
    """An argparse type: a number with k, M or G behind it, if any."""
    factor = _SUFFIXES.get(text[-1:].lower(), 1.0)
    return factor * number(text[:-1] if factor > 1 else text)


def steps(text: str) -> int:
    """An argparse type: a whole number of at least 0."""
    return 0 if text == "0" else count(text)
