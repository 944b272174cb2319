"""What a user can set about tracking."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.errors import InputError

_SHARES = ("high_score", "low_score", "match_iou")


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """Settings of a :class:`~runtime.track.Tracker`.

    Attributes:
        high_score: 0..1. Detections from this score on are looked at first, and only they start a track.
        low_score: 0..1, at most ``high_score``. Detections from here up to ``high_score`` can go on with a track that
            was seen in the frame before; those below count for nothing. A detector should be asked for boxes from
            this score on.
        match_iou: 0..1, below 1: overlap above which a detection can be the object that a track expects there.
        keep_lost: Seconds, above 0: a confirmed track that no detection fits is kept so long, and has the same id if
            its object is found again by then. More than the time between two updates.
        confirm: At least 1: a track is confirmed with this many detections, in updates that follow each other.
        per_class: Whether detections of one class never go on with a track of another. Where a detector wavers between
            classes (nine or ten of hearts), ``False`` keeps the id and lets the class follow the latest detection.

    Raises:
        InputError: A value out of its range.

    Example:
        >>> TrackOptions(keep_lost=2.0).confirm
        2
    """

    high_score: float = 0.4
    low_score: float = 0.1
    match_iou: float = 0.2
    keep_lost: float = 1.0
    confirm: int = 2
    per_class: bool = True

    def __post_init__(self) -> None:
        for name in _SHARES:
            _check(name, value := getattr(self, name), 0 <= value <= 1, "a number in 0..1")
        _check("match_iou", self.match_iou, self.match_iou < 1, "a number from 0, below 1")
        _check("keep_lost", self.keep_lost, 0 < self.keep_lost < math.inf, "seconds, above 0")
        _check(
            "confirm",
            self.confirm,
            1 <= self.confirm < math.inf and self.confirm == int(self.confirm),
            "a whole number from 1",
        )
        if self.low_score > self.high_score:
            raise InputError(
                f"low_score {self.low_score} is above high_score {self.high_score}",
                "expected the low score to be at most the high one",
                "lower low_score or raise high_score",
            )


def _check(name: str, value: float, fine: bool, expected: str) -> None:
    if not fine:
        raise InputError(f"{name} is {value}", f"expected {expected}", f"change {name} in TrackOptions")
