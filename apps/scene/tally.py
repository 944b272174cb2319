"""What one shape has counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.moment import Count, Shape


@dataclass(slots=True)
class Tally:
    """Counts by class name.

    Attributes:
        into: Crossings in, entries.
        out: Crossings out, exits.
        dwell_s: Seconds in the zone, of finished visits.
    """

    into: Counter[str] = field(default_factory=Counter)
    out: Counter[str] = field(default_factory=Counter)
    dwell_s: dict[str, float] = field(default_factory=dict)

    def stayed(self, label: str, seconds: float) -> None:
        """Adds a visit's time."""
        self.dwell_s[label] = self.dwell_s.get(label, 0.0) + seconds

    def count(self, shape: Shape, visits: Mapping[str, tuple[int, float]]) -> Count:
        """The figures now.

        Args:
            shape: What they belong to.
            visits: Of those in the zone now, by class: how many, and their seconds so far.
        """
        dwell = dict(self.dwell_s)
        for label, (_, seconds) in visits.items():
            dwell[label] = dwell.get(label, 0.0) + seconds
        inside = {label: number for label, (number, _) in visits.items()}
        return Count(shape.name, shape.kind, dict(self.into), dict(self.out), inside, dwell)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Tally:
        """A kept tally.

        Raises:
            ValueError: It is damaged.
        """
        into, out, dwell = (data.get(key, {}) for key in ("into", "out", "dwell_s"))
        for table in (into, out, dwell):
            if not isinstance(table, dict) or not all(_is_amount(value) for value in table.values()):
                raise ValueError("counts are no numbers")
        whole = [{str(label): int(number) for label, number in table.items()} for table in (into, out)]
        return cls(Counter(whole[0]), Counter(whole[1]), {str(label): float(s) for label, s in dwell.items()})


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e15
