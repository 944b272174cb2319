"""Loss and accuracy over a training, as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from runtime.files import replacing


def plot_log(path: Path, log: list[dict[str, Any]], title: str) -> None:
    """Draws the log of a training.

    Args:
        path: The ``.png``.
        log: One entry per report with ``step``, ``loss`` and accuracies in percent by name.
        title: Above the picture.

    Raises:
        RunError: It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    losses = figure.subplots()
    steps = [entry["step"] for entry in log]
    losses.plot(steps, [entry["loss"] for entry in log], color="0.5", label="loss")
    losses.set(xlabel="step", ylabel="training loss", title=title)
    losses.set_ylim(bottom=0)
    accuracies = losses.twinx()
    names = [name for name in (log[-1] if log else {}) if name.endswith(("map50", "map50_95"))]
    for name in names:
        style = "-" if name.endswith("map50") else "--"
        text = name.replace("map50_95", "AP50-95").replace("map50", "AP50")
        accuracies.plot(
            steps, [float(entry.get(name, math.nan)) for entry in log], style, marker="o", markersize=3, label=text
        )
    accuracies.set(ylabel="average precision, percent", ylim=(0, 100))
    lines = [*losses.get_lines(), *accuracies.get_lines()]
    losses.legend(lines, [str(line.get_label()) for line in lines], loc="center right")
    with replacing(path) as scratch:
        figure.savefig(scratch, dpi=110)
