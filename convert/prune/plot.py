"""Accuracy against work and time, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convert.prune.state import Point
from runtime.files import replacing


def plot_points(path: Path, points: Sequence[Point], title: str, where: str) -> None:
    """Draws the rounds of a pruning.

    Args:
        path: The ``.png``.
        points: The whole network first.
        title: Above the picture.
        where: What the milliseconds were measured on.

    Raises:
        RunError: It cannot be written.
    """
    from matplotlib.figure import Figure

    timed = all(point.ms is not None for point in points)
    figure = Figure(figsize=(11 if timed else 6, 4.5), layout="constrained")
    panels = figure.subplots(1, 2 if timed else 1, squeeze=False)[0]
    axes = [("million multiply-accumulates", [point.macs / 1e6 for point in points])]
    if timed:
        axes.append((f"milliseconds per inference, int8\n{where}", [point.ms or 0.0 for point in points]))
    for panel, (label, across) in zip(panels, axes, strict=False):
        for name, values in _curves(points):
            panel.plot(across, values, marker="o", markersize=4, label=name)
        panel.set(xlabel=label, ylabel="percent")
        panel.set_xlim(left=0)
        panel.grid(alpha=0.3)
        for point, x in zip(points, across, strict=True):
            panel.annotate(str(point.round), (x, panel.get_ylim()[0]), fontsize=8, color="0.5", ha="center")
    if _curves(points):
        panels[0].legend(loc="lower left")
    figure.suptitle(title)
    with replacing(path) as scratch:
        figure.savefig(scratch, dpi=110)


def _curves(points: Sequence[Point]) -> list[tuple[str, list[float]]]:
    named = (
        ("AP50 (float)", [point.map50 for point in points]),
        ("AP50-95 (float)", [point.map50_95 for point in points]),
        ("agreement with the whole network", [point.agreement for point in points]),
    )
    return [(name, [value or 0.0 for value in values]) for name, values in named if None not in values]
