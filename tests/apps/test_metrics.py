"""Metrics, read back by Prometheus's own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from apps.metrics import Metrics
from apps.moment import Count, Figures
from tests.apps.moments import event, moment


def read(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Values by name and labels' values, the labels by name."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_moments_are_counted() -> None:
    metrics = Metrics("cards")
    count = Count("door", "line", {"person": 2}, {"cat": 1})
    zone = Count('the "sofa"\\\n', "zone", {"cat": 1}, {}, {"cat": 1}, {"cat": 12.5})
    metrics.show(moment(1, (0, 0, 2), (count, zone), (event(),)))
    metrics.show(moment(2, (0,), (count, zone)))
    seen = read(metrics)
    assert seen["edgewren_frames_total", ""] == 2
    assert seen["edgewren_detections_total", "person"] == 3
    assert seen["edgewren_detections_total", "dog"] == 1
    assert seen["edgewren_events_total", "in,line,door"] == 1
    assert seen["edgewren_crossings", "in,person,door"] == 2
    assert seen["edgewren_crossings", "out,cat,door"] == 1
    assert seen["edgewren_inside", 'cat,the "sofa"\\\n'] == 1
    assert seen["edgewren_dwell_seconds", 'cat,the "sofa"\\\n'] == 12.5
    assert seen["edgewren_frames_per_second", ""] == 12.5
    assert seen["edgewren_dropped_frames", ""] == 3
    assert seen["edgewren_temperature_celsius", ""] == 51
    assert seen["edgewren_latency_seconds_count", ""] == 2
    assert seen["edgewren_model", "cards"] == 1


def test_what_is_gone_or_unknown_is_not_reported() -> None:
    metrics = Metrics("cards")
    metrics.show(moment(1, (), (Count("door", "line", {"person": 2}),)))
    metrics.show(moment(2, ()))
    metrics.model("other")
    metrics.tell(Figures(source="reopening"))
    seen = read(metrics)
    assert ("edgewren_crossings", "in,person,door") not in seen
    assert ("edgewren_model", "cards") not in seen
    assert seen["edgewren_model", "other"] == 1
    assert ("edgewren_temperature_celsius", "") not in seen
    assert ("edgewren_throttled", "") not in seen
    assert seen["edgewren_source_live", ""] == 0
