"""Counting lines and zones: what the tracks of objects mean."""

from __future__ import annotations

from apps.scene.scene import Anchor, Scene
from apps.scene.shapes import read_shapes, shape_as_data
from apps.scene.tally import Tally

__all__ = ["Anchor", "Scene", "Tally", "read_shapes", "shape_as_data"]
