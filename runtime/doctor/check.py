"""What a check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

INSTALL = "pip install 'edgewren[device]'"


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, whether it is good, what was seen, and how to fix it (empty where good)."""

    name: str
    ok: bool
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)
