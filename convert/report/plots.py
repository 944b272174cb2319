"""Plots as inline SVG. Colours are CSS variables of the page, so that they follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from convert.debug.model import TensorError
from convert.report.model import TensorHistogram

_WIDTH, _HEIGHT = 760, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 34
_MOST_DB = 60.0


def sqnr_plot(tensors: Sequence[TensorError]) -> str:
    """Signal to noise of each tensor in order of execution: with all before it rounded (dots), and alone (rings)."""
    ceiling = min(_MOST_DB, 10 * np.ceil(max((one.own_sqnr for one in tensors), default=10) / 10))
    low = min(0.0, 10 * np.floor(min((one.sqnr for one in tensors), default=0) / 10))
    across = (_WIDTH - _LEFT - _RIGHT) / max(len(tensors), 1)

    def y(value: float) -> float:
        share = (min(max(value, low), ceiling) - low) / max(ceiling - low, 1)
        return _TOP + float(1 - share) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_line(_LEFT, y(db), _WIDTH - _RIGHT, y(db), "grid") for db in np.arange(low, ceiling + 1, 10)]
    parts += [_text(_LEFT - 6, y(db) + 4, f"{db:.0f}", "end") for db in np.arange(low, ceiling + 1, 10)]
    for at, one in enumerate(tensors):
        x = _LEFT + (at + 0.5) * across
        label = f"{one.name}: {one.sqnr:.1f} dB, alone {one.own_sqnr:.1f} dB"
        parts.append(_line(x, y(one.sqnr), x, y(one.own_sqnr), "stem"))
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y(one.own_sqnr):.1f}" r="3"/>')
        parts.append(
            f'<circle class="dot" cx="{x:.1f}" cy="{y(one.sqnr):.1f}" r="3"><title>{escape(label)}</title></circle>'
        )
    parts.append(_text(_LEFT, _HEIGHT - 8, "first tensor", "start"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 8, "last tensor", "end"))
    return _svg(_WIDTH, _HEIGHT, "Signal to noise of each tensor in decibels", parts)


def histogram_plot(histogram: TensorHistogram) -> str:
    """Values of a tensor, the range of int8 shaded behind them; heights are logarithmic, so that tails show."""
    width, height = 360, 180
    low, high = histogram.edges
    span = max(high - low, 1e-12)
    inner, base = width - 2 * _RIGHT, height - _BOTTOM

    def x(value: float) -> float:
        return _RIGHT + min(max((value - low) / span, 0), 1) * inner

    heights = np.log1p(np.array(histogram.counts, np.float64))
    heights *= (base - _TOP) / max(float(heights.max(initial=0)), 1e-12)
    left, right = x(histogram.range[0]), x(histogram.range[1])
    parts = [
        f'<rect class="range" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 0.5):.1f}" height="{base - _TOP}"/>'
    ]
    bar = inner / max(len(heights), 1)
    parts += [
        f'<rect class="bar" x="{_RIGHT + at * bar:.1f}" y="{base - tall:.1f}" width="{max(bar - 0.5, 0.5):.1f}" '
        f'height="{tall:.1f}"/>'
        for at, tall in enumerate(heights)
        if tall > 0
    ]
    parts += [_line(at, _TOP, at, base, "edge") for at in (left, right)]
    parts.append(_line(_RIGHT, base, width - _RIGHT, base, "grid"))
    parts.append(_text(_RIGHT, height - 18, f"{low:.3g}", "start"))
    parts.append(_text(width - _RIGHT, height - 18, f"{high:.3g}", "end"))
    shown = f"int8 holds {histogram.range[0]:.3g} to {histogram.range[1]:.3g}"
    parts.append(_text(width / 2, height - 4, shown, "middle"))
    return _svg(width, height, f"Values of {histogram.tensor}: {shown}", parts)


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
