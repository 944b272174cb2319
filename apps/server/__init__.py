"""The live page's server: what viewers see, and what they may ask of the session."""

from __future__ import annotations

from apps.server.gate import find_token, is_loopback
from apps.server.limits import Limits
from apps.server.web import WebOutput

__all__ = ["Limits", "WebOutput", "find_token", "is_loopback"]
