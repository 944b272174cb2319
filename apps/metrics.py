"""Figures of a running session in Prometheus's text format, for ``/metrics``."""

from __future__ import annotations

import threading
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from apps.moment import Count, Figures, Moment

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY_S = (0.01, 0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)


class Metrics:
    """An output that keeps counters instead of pictures. Safe to be read from another thread.

    Args:
        model: Name of the running model.
    """

    def __init__(self, model: str) -> None:
        self._lock = threading.Lock()
        self._registry = registry = CollectorRegistry()
        self._model = Gauge("edgewren_model", "The running model", ["name"], registry=registry)
        self._frames = Counter("edgewren_frames", "Results so far", registry=registry)
        self._dropped = Gauge("edgewren_dropped_frames", "Frames left out so far", registry=registry)
        self._fps = Gauge("edgewren_frames_per_second", "Results per second", registry=registry)
        self._latency = Histogram(
            "edgewren_latency_seconds", "From capture to result", registry=registry, buckets=_LATENCY_S
        )
        self._stage = Gauge("edgewren_stage_seconds", "Time of the last frame", ["stage"], registry=registry)
        self._detections = Counter("edgewren_detections", "Objects found", ["label"], registry=registry)
        self._events = Counter("edgewren_events", "Events", ["shape", "kind", "direction"], registry=registry)
        self._counts = Gauge("edgewren_crossings", "Counted so far", ["shape", "direction", "label"], registry=registry)
        self._inside = Gauge("edgewren_inside", "Objects in a zone", ["shape", "label"], registry=registry)
        self._dwell = Gauge("edgewren_dwell_seconds", "Time spent in a zone", ["shape", "label"], registry=registry)
        self._temperature = Gauge("edgewren_temperature_celsius", "Of the processor", registry=registry)
        self._throttled = Gauge("edgewren_throttled", "1 where the board is held back", registry=registry)
        self._live = Gauge("edgewren_source_live", "1 where the source gives frames", registry=registry)
        self.model(model)

    def model(self, name: str) -> None:
        """Notes that another model runs."""
        with self._lock:
            self._model.clear()
            self._model.labels(name).set(1)

    def show(self, moment: Moment) -> None:
        """Counts a moment; its latency ends now."""
        latency_s = time.monotonic() - moment.frame.captured
        with self._lock:
            self._frames.inc()
            self._latency.observe(latency_s)
            for stage, ms in moment.found.ms._asdict().items():
                self._stage.labels(stage).set(ms / 1e3)
            for class_id in moment.found.class_ids.tolist():
                self._detections.labels(moment.labels[class_id]).inc()
            for event in moment.events:
                self._events.labels(event.shape, event.kind, event.direction).inc()
            self._keep_counts(moment.counts)
            self._keep(moment.figures)

    def tell(self, figures: Figures) -> None:
        """Takes figures while no frame arrives."""
        with self._lock:
            self._keep(figures)

    def close(self) -> None:
        """Nothing to finish."""

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        with self._lock:
            return bytes(generate_latest(self._registry))

    def _keep(self, figures: Figures) -> None:
        self._dropped.set(figures.dropped)
        self._fps.set(figures.fps)
        self._live.set(figures.source == "live")
        # What cannot be told is left out: a zero would be a lie.
        self._temperature.set(float("nan") if figures.temperature is None else figures.temperature)
        self._throttled.set(float("nan") if figures.throttled is None else bool(figures.throttled))

    def _keep_counts(self, counts: tuple[Count, ...]) -> None:
        # Cleared first: a shape that was taken away must not be reported for ever.
        for gauge in (self._counts, self._inside, self._dwell):
            gauge.clear()
        for count in counts:
            for direction, numbers in (("in", count.into), ("out", count.out)):
                for label, number in numbers.items():
                    self._counts.labels(count.name, direction, label).set(number)
            for label, number in count.inside.items():
                self._inside.labels(count.name, label).set(number)
            for label, seconds in count.dwell_s.items():
                self._dwell.labels(count.name, label).set(seconds)
