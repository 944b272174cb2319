"""The ``[train]`` section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from convert.train.augment import Augmentation
from convert.train.targets import Matching

ClassLoss = Literal["focal", "quality", "hard-negative"]
BoxLoss = Literal["smooth-l1", "giou"]


@dataclass(frozen=True)
class RemoteFile:
    """A pinned file.

    Attributes:
        path: Where a mirror keeps it.
        url: Its public address.
        sha256: Hash of its bytes.
        bytes: Its size.
        licence: Under which it may be used, where that is not the recipe's own.
    """

    path: str
    url: str
    sha256: str
    bytes: int
    licence: str = ""


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine, by its path from the recipe's folder."""

    path: str
    licence: str = ""


@dataclass(frozen=True)
class ScenesRecipe:
    """Generated pictures with exact boxes.

    Attributes:
        scenes: Which generator.
        count: How many.
        seed: Other seeds, other pictures.
        share: Where several sources are mixed, how often this one is drawn from.
    """

    scenes: Literal["cards"]
    count: int
    seed: int
    share: float = 1.0


@dataclass(frozen=True)
class FolderRecipe:
    """Pictures of a folder.

    Attributes:
        path: Where a mirror keeps it, or a path from the recipe's own folder.
        share: Where several sources are mixed, how often this one is drawn from.
        licence: Under which the pictures may be used.
    """

    path: str
    share: float = 1.0
    licence: str = ""


@dataclass(frozen=True)
class Stage:
    """A stretch of the training.

    Attributes:
        size: Side of the input in pixels: small ones first save time.
        steps: How many.
        shares: Shares of the data sources while it lasts, instead of their own.
        mosaic: Share of mosaics while it lasts, instead of the augmentation's: none at the end lets the net settle on
            whole pictures.
    """

    size: int
    steps: int
    shares: tuple[float, ...] = ()
    mosaic: float | None = None


@dataclass(frozen=True)
class QatRecipe:
    """How a trained network is trained on with the rounding of int8; what is not said here is as in ``[train]``.

    Attributes:
        steps: How many.
        learning_rate: The highest; reached after ``warmup`` steps, then a cosine to zero.
        warmup: Steps.
        freeze_after: Share of the steps after which the ranges of activations stay as they are; 0 keeps those that
            post-training quantisation found.
        momentum: How much of the old extremes of a range each batch leaves while it moves.
        size: Side of the input in pixels; by default the network's own.
        shares: Shares of the data sources; by default those of the last stage of ``[train]``.
        mosaic: Share of mosaics.
        average: Momentum of the moving average of the weights, which is what is kept.
        distil: Weight of the float network's answers in the loss; 0 asks for the labels alone.
        equalise: Rescale channels first.
        weights: Scales of weights. ``per-tensor`` is for comparison: model files always have them per channel.
        report_every: Steps between two measurements of accuracy.
    """

    steps: int = 300
    learning_rate: float = 1e-4
    warmup: int = 20
    freeze_after: float = 0.5
    momentum: float = 0.95
    size: int | None = None
    shares: tuple[float, ...] = ()
    mosaic: float = 0.0
    average: float = 0.98
    distil: float = 0.0
    equalise: bool = True
    weights: Literal["per-channel", "per-tensor"] = "per-channel"
    report_every: int = 150


@dataclass(frozen=True)
class TrainRecipe:
    """How a network is trained.

    Attributes:
        data: Annotated pictures; each source is drawn from by its share.
        stages: One after the other.
        start: Keras weights whose layers are taken over by name where shapes agree.
        widen: Also take over layers that are narrower there, as the first channels of the wider ones.
        batch: Pictures per step.
        learning_rate: The highest; reached after ``warmup`` steps, then a cosine to zero over all stages.
        warmup: Steps.
        weight_decay: AdamW's, on kernels alone.
        average: Momentum of the moving average of the weights, which is what is kept.
        class_loss, box_loss, box_weight: See ``convert.train.loss``.
        seed: Of everything random.
        report_every: Steps between two measurements of accuracy.
    """

    data: tuple[FolderRecipe | ScenesRecipe, ...]
    stages: tuple[Stage, ...]
    start: RemoteFile | LocalFile | None = None
    widen: bool = False
    batch: int = 16
    learning_rate: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 0.02
    average: float = 0.998
    class_loss: ClassLoss = "quality"
    box_loss: BoxLoss = "giou"
    box_weight: float = 2.0
    seed: int = 1
    report_every: int = 500
    matching: Matching = field(default_factory=Matching)
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)
