"""Model cards for networks on their way to the device."""

from __future__ import annotations

import importlib.metadata
import platform

from convert.source import SourceModel
from runtime.card import ModelCard, OutputBinding

_TOOLS = ("edgewren", "tensorflow", "keras", "ai-edge-litert", "opencv-python-headless", "numpy")


def make_card(source: SourceModel, bindings: tuple[OutputBinding, ...]) -> ModelCard:
    """The card of a network before anything was measured.

    Args:
        source: The imported network.
        bindings: Its outputs after splitting.
    """
    return ModelCard(
        name=source.name,
        task="detect",
        input=source.input,
        outputs=bindings,
        decoder=source.decoder,
        labels=source.labels,
        source=source.source,
        thresholds=source.thresholds,
        pruning=source.pruning,
    )


def tool_versions() -> dict[str, str]:
    """Versions of what makes a model file."""
    versions = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
