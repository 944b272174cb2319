"""What a conversion gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convert.quantize.calibration_check import CalibrationReport
from runtime.card import ModelCard


@dataclass(frozen=True)
class Result:
    """A model file in place.

    Attributes:
        path: The file.
        bytes: Its size.
        card: Its card.
        skipped: Why it was not made anew; empty when it was.
        calibration: What is known about the calibration pictures; ``None`` when it was not made anew.
    """

    path: Path
    bytes: int
    card: ModelCard
    skipped: str = ""
    calibration: CalibrationReport | None = None
