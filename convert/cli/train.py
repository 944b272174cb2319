"""``python -m convert train``: a detector from annotated pictures."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from convert.cli.report import print_summary, teller
from convert.recipe import Recipe, TrainedRecipe, load_recipe, save_recipe, weights_file
from convert.train.recipe import FolderRecipe, LocalFile, RemoteFile, TrainRecipe
from runtime.commandline import count, seed
from runtime.errors import InputError

if TYPE_CHECKING:
    from convert.data import Dataset
    from convert.train.session import Session


def add_parser(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Adds the command."""
    parser = commands.add_parser("train", help="train a detector from a recipe, on its data or on your own")
    parser.add_argument("recipe", metavar="RECIPE", help="objects (for --data), a name from convert list, or a .toml")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="your annotated images (COCO, VOC or YOLO) instead of the recipe's"
    )
    parser.add_argument("--test", type=Path, metavar="DIR", help="annotated images to measure on once, at the end")
    parser.add_argument("--name", help="name of the model trained on --data (default: the folder's)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: build/train/NAME")
    parser.add_argument("--steps", type=count, metavar="N", help="train for N steps in all instead of the recipe's")
    parser.add_argument("--seed", type=seed, metavar="N", help="another seed than the recipe's")
    parser.add_argument("--threads", type=count, metavar="N", help="cores to use (default: all)")
    parser.add_argument("--mirror", type=Path, metavar="DIR", help="look for data and downloads there first")
    parser.add_argument("--strict", action="store_true", help="refuse data with anything wrong in it")
    parser.add_argument("--fresh", action="store_true", help="start over instead of going on with a killed training")
    parser.add_argument(
        "--qat", action="store_true", help="train the recipe's trained weights on with int8 rounding; writes a .tflite"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    recipe = load_recipe(arguments.recipe)
    if recipe.train is None or not isinstance(recipe.source, TrainedRecipe):
        raise InputError(f"{recipe.name} has no [train] section", "expected a recipe that is trained", "try objects")
    if arguments.data is None and not recipe.train.data:
        raise InputError(f"{recipe.name} names no pictures", "expected your own", "give --data DIR")
    if arguments.qat:
        weights_file(recipe)
    limit_threads(arguments.threads)

    from convert.quiet import import_keras

    import_keras()
    from convert.data import open_data
    from convert.train import session as training

    data = open_data(arguments.data, arguments.strict) if arguments.data else None
    name = arguments.name or (_name_of(arguments.data) if arguments.data and not arguments.qat else recipe.name)
    if arguments.qat:
        recipe = _with_rounding(recipe, arguments.data)
    elif data is not None:
        recipe = _own(recipe, name, arguments.data, data)
    recipe = training.with_changes(recipe, arguments.steps, arguments.seed)
    session = training.Session(
        out=arguments.out or Path("build/train") / name,
        work=Path("build"),
        mirror=arguments.mirror,
        strict=arguments.strict,
        command=shlex.join(["python", "-m", "convert", *sys.argv[1:]]),
        test=training.open_test(arguments.test, recipe, arguments.strict) if arguments.test else None,
        say=teller(name),
    )
    if arguments.qat:
        return _train_rounded(recipe, data, session, arguments.fresh)
    weights = training.run_training(recipe, data, session, arguments.fresh)
    print(f"{name}: wrote {weights}")
    if data is not None:
        path = weights.with_suffix(".toml")
        save_recipe(recipe, path)
        print(f"{name}: wrote {path}; next: python -m convert build {path}")
    return 0


def _with_rounding(recipe: Recipe, own: Path | None) -> Recipe:
    """A recipe for quantisation-aware training, on its own pictures or on somebody's."""
    from convert.train.qat import qat_recipe

    recipe = qat_recipe(recipe)
    if own is None or recipe.train is None:
        return recipe
    return dataclasses.replace(recipe, train=_on_one_folder(recipe.train, own))


def _on_one_folder(plan: TrainRecipe, folder: Path) -> TrainRecipe:
    """A training on somebody's own pictures; the shares of its stages are for the recipe's several sources."""
    stages = tuple(dataclasses.replace(stage, shares=()) for stage in plan.stages)
    return dataclasses.replace(plan, stages=stages, data=(FolderRecipe(str(folder.resolve())),))


def _train_rounded(recipe: Recipe, data: Dataset | None, session: Session, fresh: bool) -> int:
    from convert.qat import run_qat

    done = run_qat(recipe, data, session, fresh)
    print(f"{recipe.name}: wrote {done.weights}")
    if done.model is None:
        print(f"{recipe.name}: no model file: those have a weight scale per channel, never per tensor")
        return 0
    print(f"{recipe.name}: wrote {done.model.path}")
    print_summary(done.model.card, done.model.bytes)
    return 0


def _own(recipe: Recipe, name: str, folder: Path, data: Dataset) -> Recipe:
    """A recipe for somebody's own pictures: calibrated on them, with their class names."""
    if not data.names:
        raise InputError(f"{folder} does not name its classes", "expected classes.txt", "add one name per line")
    assert recipe.train is not None
    assert isinstance(recipe.source, TrainedRecipe)
    path = str(folder.resolve())
    return dataclasses.replace(
        recipe,
        name=name,
        title=", ".join(data.names)[:80],
        licence="that of its pictures",
        source=dataclasses.replace(recipe.source, weights=f"{name}.npz", labels=data.names),
        calibration=FolderRecipe(path),
        evaluation=None,
        train=dataclasses.replace(_on_one_folder(recipe.train, folder), start=_absolute(recipe)),
        qat=dataclasses.replace(recipe.qat, shares=()) if recipe.qat else None,
    )


def _absolute(recipe: Recipe) -> RemoteFile | LocalFile | None:
    """The start of a recipe, still found when the recipe is saved elsewhere."""
    start = recipe.train.start if recipe.train else None
    if isinstance(start, LocalFile):
        return LocalFile(str((recipe.folder / start.path).resolve()), start.licence)
    return start


def _name_of(folder: Path) -> str:
    """``fruit`` for ``fruit/train``."""
    resolved = folder.resolve()
    plain = resolved.parent if resolved.name in ("train", "images") and resolved.parent.name else resolved
    return plain.name


def limit_threads(threads: int | None) -> None:
    """Sizes the thread pools; before TensorFlow is loaded, which does it once."""
    if threads:
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            os.environ[name] = str(threads)
        os.environ["TF_NUM_INTEROP_THREADS"] = "1"
