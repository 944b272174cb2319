"""Playing-card scenes that come with exact labels: data for training and evaluation, and a camera without a camera."""

from __future__ import annotations

from runtime.scenes.cards import draw_scene
from runtime.scenes.deck import LABELS
from runtime.scenes.layout import Scene
from runtime.scenes.motion import CardMotion

__all__ = ["LABELS", "CardMotion", "Scene", "draw_scene"]
