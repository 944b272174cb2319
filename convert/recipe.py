"""Recipes: everything the project knows about one model, as one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli_w

from convert.prune.plan import PruneRecipe
from convert.train.recipe import FolderRecipe, QatRecipe, RemoteFile, ScenesRecipe, TrainRecipe
from runtime.card import HeadSpec, Thresholds
from runtime.commandline import MAX_SEED
from runtime.errors import InputError
from runtime.files import read_text, replacing
from runtime.schema import decode, encode

FOLDER = Path(__file__).with_name("recipes")
# Recipes without pictures or weights of their own, to train something on.
TEMPLATES = FOLDER / "templates"


@dataclass(frozen=True)
class RemoteFolder:
    """A pinned set of pictures.

    Attributes:
        path: Where a mirror keeps the folder.
        url: Address of the folder; a file's name is added to it.
        manifest: File beside the recipe with ``sha256  name`` per line.
    """

    path: str
    url: str
    manifest: str


@dataclass(frozen=True)
class DarknetRecipe:
    """A network from elsewhere: its .cfg, its weights and its class names."""

    format: Literal["darknet"]
    model: RemoteFile
    weights: RemoteFile
    labels: RemoteFile


@dataclass(frozen=True)
class NetworkRecipe:
    """An architecture of ``convert/models``; see ``SsdConfig`` for the fields.

    Attributes:
        heads: Anchors per scale in pixels of the input; empty for SSD's defaults.
    """

    architecture: Literal["ssd-mobilenetv2"]
    size: int = 320
    width: float = 1.0
    lite: bool = True
    neck: int = 0
    kernel: int = 3
    heads: tuple[HeadSpec, ...] = ()


@dataclass(frozen=True)
class TrainedRecipe:
    """A network this project defines and trains.

    Attributes:
        weights: File beside the recipe, an ``.npz`` written by ``python -m convert train``.
        labels: Class names by class index, without background.
        network: Its shape.
    """

    format: Literal["trained"]
    weights: str
    labels: tuple[str, ...]
    network: NetworkRecipe


@dataclass(frozen=True)
class InputRecipe:
    """Overrides of what the network's own files say about the input."""

    resize: Literal["stretch", "letterbox"] | None = None
    size: int | None = None


@dataclass(frozen=True)
class Budget:
    """What quantisation may cost on the evaluation data.

    Attributes:
        max_drop: Points of AP50 the int8 file may lie below the float network, 0..100.
        min_agreement: Least agreement F1 of int8 with float detections, percent.
        max_slowdown: Percent of inference time that may be paid where pure int8 misses the other two; nothing unless
            it is given.
    """

    max_drop: float | None = None
    min_agreement: float | None = None
    max_slowdown: float | None = None


@dataclass(frozen=True)
class Recipe:
    """One model of the zoo. ``file`` is where the recipe itself lies."""

    name: str
    title: str
    task: Literal["detect"]
    licence: str
    homepage: str
    source: DarknetRecipe | TrainedRecipe
    calibration: RemoteFolder | FolderRecipe | ScenesRecipe
    input: InputRecipe = field(default_factory=InputRecipe)
    evaluation: FolderRecipe | ScenesRecipe | None = None
    budget: Budget | None = None
    train: TrainRecipe | None = None
    qat: QatRecipe | None = None
    prune: PruneRecipe | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    file: str = ""

    @property
    def folder(self) -> Path:
        """Where the recipe and the files beside it lie."""
        return Path(self.file).parent


def weights_file(recipe: Recipe) -> Path:
    """The weights beside a recipe: those of the pruned network where it says so, otherwise the trained ones.

    Raises:
        InputError: Nobody made them yet.
    """
    assert isinstance(recipe.source, TrainedRecipe)
    if recipe.prune and recipe.prune.weights:
        path = recipe.folder / recipe.prune.weights
        how = f"python -m convert prune {recipe.name} makes them"
        if not path.is_file():
            raise InputError(f"{recipe.name} has no pruned weights", f"expected {path}", how)
        return path
    path = recipe.folder / recipe.source.weights
    if not path.is_file():
        raise InputError(
            f"{recipe.name} has no weights", f"expected {path}", f"python -m convert train {recipe.name} makes them"
        )
    return path


def read_manifest(path: Path) -> dict[str, str]:
    """Name to sha256 of pinned pictures.

    Raises:
        InputError: The manifest is missing or has a line that is not ``sha256  name``.
    """
    pins: dict[str, str] = {}
    for number, line in enumerate(read_text(path, "a manifest").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or "/" in name or name.startswith("."):
            raise InputError(f"{path} line {number} is '{line[:60]}'", "expected 'sha256  name'")
        pins[name] = digest
    return pins


def load_recipe(name: str) -> Recipe:
    """Reads a recipe.

    Args:
        name: One of :func:`recipe_names`, or a path to a ``.toml``.

    Raises:
        InputError: No such recipe, not TOML, or a field that is missing, unknown or wrong.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.exists() and not name.endswith(".toml"):
        path = TEMPLATES / f"{name}.toml"
    if not path.exists() and not name.endswith(".toml"):
        known = ", ".join(recipe_names())
        raise InputError(f"no recipe '{name}'", f"expected one of {known}, or a path to a .toml")
    text = read_text(path, "a recipe (.toml)")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML ({error})", "expected a recipe", "see convert/recipes") from None
    recipe = decode(Recipe, {**data, "file": str(path)}, f"{path}:")
    for good, seen, expected in _requirements(recipe):
        if not good:
            raise InputError(f"{path}: {seen}", f"expected {expected}")
    return recipe


def _requirements(recipe: Recipe) -> list[tuple[bool, str, str]]:
    """What the types of the fields cannot say."""
    drawn = [recipe.calibration, recipe.evaluation, *(recipe.train.data if recipe.train else ())]
    rows = [row for one in drawn if isinstance(one, ScenesRecipe) for row in _scenes_requirements(one)]
    rows += _budget_requirements(recipe.budget) if recipe.budget else []
    rows += _train_requirements(recipe.train) if recipe.train else []
    rows += _prune_requirements(recipe.prune, recipe.train is not None) if recipe.prune else []
    return rows + (_qat_requirements(recipe.qat, recipe.train) if recipe.qat else [])


def _scenes_requirements(wanted: ScenesRecipe) -> list[tuple[bool, str, str]]:
    return [
        (wanted.count > 0, f"{wanted.count} {wanted.scenes} scenes", "count at least 1"),
        (wanted.seed >= 0, f"scenes with seed {wanted.seed}", "at least 0"),
    ]


def _budget_requirements(budget: Budget) -> list[tuple[bool, str, str]]:
    given = [(name, value) for name, value in vars(budget).items() if value is not None]
    wanted = any(name != "max_slowdown" for name, _ in given)
    return [
        (wanted, "budget limits no loss", "max_drop or min_agreement"),
        *((0 <= value <= 100, f"budget.{name} {value:g}", "a number in 0..100") for name, value in given),
    ]


def _prune_requirements(plan: PruneRecipe, trained: bool) -> list[tuple[bool, str, str]]:
    given = [target.goal for target in plan.targets]
    blocks = plan.remove == "blocks"
    return [
        (
            len(given) == 1,
            f"prune with {' and '.join(given) or 'no target'}",
            "one of ratio, macs, size, latency and speedup",
        ),
        *((t.value > 0, f"prune.{t.goal} {t.value:g}", "a number above 0") for t in plan.targets),
        (plan.speedup is None or plan.speedup > 1, f"prune.speedup {plan.speedup}", "a number above 1"),
        (plan.ratio is None or plan.ratio < 1, f"prune.ratio {plan.ratio}", "a share below 1"),
        (not (blocks and plan.ratio), "prune.remove blocks with a ratio", "macs, size, latency or speedup"),
        (not (blocks and trained), "prune.remove blocks with [train]", "channels"),
        (plan.multiple > 0, f"prune.multiple {plan.multiple}", "at least 1"),
        (plan.rounds > 0, f"prune.rounds {plan.rounds}", "at least 1"),
        (min(plan.train_steps, plan.final_steps) >= 0, "prune's training steps", "at least 0"),
        (plan.learning_rate > 0, f"prune.learning_rate {plan.learning_rate:g}", "a number above 0"),
        (plan.distil >= 0, f"prune.distil {plan.distil:g}", "at least 0"),
    ]


def _train_requirements(plan: TrainRecipe) -> list[tuple[bool, str, str]]:
    how = plan.augmentation
    return [
        (bool(plan.stages), "train.stages is empty", "at least one"),
        (all(s.steps > 0 for s in plan.stages), "a stage without steps", "at least one step"),
        (all(s.size > 0 and s.size % 32 == 0 for s in plan.stages), "a stage's size", "a multiple of 32"),
        (plan.batch > 0, f"train.batch {plan.batch}", "at least 1"),
        (plan.learning_rate > 0, f"train.learning_rate {plan.learning_rate:g}", "a number above 0"),
        (plan.warmup >= 0, f"train.warmup {plan.warmup}", "at least 0"),
        (0 <= plan.average < 1, f"train.average {plan.average:g}", "a number from 0 to below 1"),
        (0 <= plan.seed <= MAX_SEED, f"train.seed {plan.seed}", f"a whole number in 0..{MAX_SEED}"),
        (plan.report_every > 0, f"train.report_every {plan.report_every}", "at least 1"),
        (
            all(not s.shares or (len(s.shares) == len(plan.data) and _are_shares(s.shares)) for s in plan.stages),
            "a stage's shares",
            "one number of at least 0 per entry of train.data, not all 0",
        ),
        (not plan.data or _are_shares([d.share for d in plan.data]), "the shares of train.data", "not all 0"),
        (0 < how.zoom[0] <= how.zoom[1], f"train.augmentation.zoom {how.zoom}", "two numbers above 0, smaller first"),
        (how.aspect >= 1, f"train.augmentation.aspect {how.aspect}", "at least 1"),
    ]


def _qat_requirements(plan: QatRecipe, train: TrainRecipe | None) -> list[tuple[bool, str, str]]:
    sources = len(train.data) if train else 0
    return [
        (train is not None, "qat without [train]", "a recipe that is trained"),
        (plan.steps > 0, f"qat.steps {plan.steps}", "at least 1"),
        (plan.learning_rate >= 0, f"qat.learning_rate {plan.learning_rate:g}", "at least 0"),
        (0 <= plan.warmup <= plan.steps, f"qat.warmup {plan.warmup}", "a number in 0..qat.steps"),
        (0 <= plan.freeze_after <= 1, f"qat.freeze_after {plan.freeze_after:g}", "a number in 0..1"),
        (0 <= plan.momentum < 1, f"qat.momentum {plan.momentum:g}", "a number from 0 to below 1"),
        (0 <= plan.average < 1, f"qat.average {plan.average:g}", "a number from 0 to below 1"),
        (plan.distil >= 0, f"qat.distil {plan.distil:g}", "at least 0"),
        (
            not plan.distil or train is None or train.class_loss != "hard-negative",
            "qat.distil with classes that are a softmax",
            "0, or another train.class_loss",
        ),
        (plan.report_every > 0, f"qat.report_every {plan.report_every}", "at least 1"),
        (plan.size is None or (plan.size > 0 and plan.size % 32 == 0), f"qat.size {plan.size}", "a multiple of 32"),
        (
            not plan.shares or (len(plan.shares) == sources and _are_shares(plan.shares)),
            "qat.shares",
            "one number of at least 0 per entry of train.data, not all 0",
        ),
    ]


def _are_shares(values: Sequence[float]) -> bool:
    return min(values) >= 0 and sum(values) > 0


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes a recipe that :func:`load_recipe` reads.

    Raises:
        RunError: It cannot be written.
    """
    data = _without_none(encode(recipe))
    del data["file"]
    with replacing(path) as scratch:
        scratch.write_text(tomli_w.dumps(data), encoding="utf-8")


def _without_none(value: Any) -> Any:
    """TOML has no null: a field that is not set is left out."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def recipe_names() -> list[str]:
    """The recipes that come with the project and can be built."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
