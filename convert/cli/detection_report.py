"""What an evaluation of detectors prints: one JSON object, or a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convert.cli.table import print_columns

if TYPE_CHECKING:
    from convert.evaluate.bootstrap import Interval
    from convert.evaluate.detection import DetectionScore
    from convert.evaluate.measure import Comparison, Difference, Measured

_HEADINGS = ("AP50", "AP75", "AP50-95", "small", "medium", "large", "VOC 11", "VOC all")


def score_facts(measured: Measured) -> dict[str, Any]:
    """The figures of one detector for JSON, in percent with two decimals; ``None`` where there is nothing to find."""
    score = measured.score
    return {
        "map50": _round(score.map50),
        "map50_95": _round(score.map50_95),
        "map75": _round(score.map75),
        "voc_ap_11": _round(measured.voc.ap_11),
        "voc_ap_all": _round(measured.voc.ap_all),
        "by_size": {name: _round(value) for name, value in score.by_size.items()},
        "per_class": {
            name: {"objects": one.objects, "ap50": _round(one.ap50), "ap50_95": _round(one.ap50_95)}
            for name, one in score.per_class.items()
        },
        "objects": score.objects,
        "objects_by_size": score.objects_by_size,
        "detections": measured.confident,
    }


def comparison_facts(comparison: Comparison) -> dict[str, Any]:
    """How a detector compares with its reference, for JSON."""
    return {
        "agreement_f1": _round(comparison.agreement.f1),
        "agreement_interval": _pair(comparison.agreement_interval),
        "score_difference": _round(comparison.agreement.score_difference, 4),
        "difference": {
            "map50": _difference_facts(comparison.map50),
            "map50_95": _difference_facts(comparison.map50_95),
        },
    }


def print_scores(rows: list[tuple[str, Measured]]) -> None:
    """One line per detector and, of two, what the second differs from the first."""
    lines = [(name, _figures(measured)) for name, measured in rows]
    if len(lines) == 2:
        (_, first), (_, second) = lines
        both = zip(second, first, strict=True)
        lines.append(("difference", [None if a is None or b is None else a - b for a, b in both]))
    print_columns(_HEADINGS, [(name, [_shown(value) for value in values]) for name, values in lines])


def print_comparison(comparison: Comparison) -> None:
    """The intervals, and how far the two find the same."""
    for name, difference in (("AP50", comparison.map50), ("AP50-95", comparison.map50_95)):
        if difference.points is not None:
            print(f"  {name} differs by {difference.points:+.1f} points{_range(difference.interval, '+.1f')}")
    print(f"  agreement F1 {comparison.agreement.f1:.1f} %{_range(comparison.agreement_interval, '.1f')}", end="")
    shift = comparison.agreement.score_difference
    print("" if shift is None else f"; scores of agreeing boxes differ by {shift:+.3f} on average")


def print_counts(rows: list[tuple[str, Measured]]) -> None:
    """Where there is no truth: how much was found."""
    print_columns(("detections",), [(name, [str(measured.confident)]) for name, measured in rows])


def print_classes(score: DetectionScore) -> None:
    """One line per class that occurs, by name."""
    rows = sorted(score.per_class.items())
    print_columns(
        ("objects", "AP50", "AP50-95"),
        [(name, [str(one.objects), _shown(one.ap50), _shown(one.ap50_95)]) for name, one in rows],
    )


def _figures(measured: Measured) -> list[float | None]:
    score, voc = measured.score, measured.voc
    return [score.map50, score.map75, score.map50_95, *score.by_size.values(), voc.ap_11, voc.ap_all]


def _difference_facts(difference: Difference) -> dict[str, Any]:
    return {"points": _round(difference.points), "interval": _pair(difference.interval)}


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval.low, 2), round(interval.high, 2)]


def _range(interval: Interval | None, style: str) -> str:
    return f" (95 % interval {interval.low:{style}} to {interval.high:{style}})" if interval else ""


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def _shown(value: float | None) -> str:
    # Rounded first, so that a small loss is not shown as "-0.0".
    return "-" if value is None else f"{round(value, 1) + 0.0:.1f}"
