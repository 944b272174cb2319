"""Figures of a running session in Prometheus's text format, for ``/metrics``."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from apps.moment import Count, Figures, Moment

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what :meth:`Metrics.text` returns."""
_Values = Iterable[tuple[tuple[str, ...], float]]  # the labels' values, and the number
_LATENCY_S = (0.01, 0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)


class Metrics:
    """An output that keeps counters instead of pictures. Safe to be read from another thread.

    Each frame costs a few additions. Prometheus's library, which takes long to load on a small board, is wanted by the
    first reader alone.

    Args:
        model: Name of the running model.
    """

    def __init__(self, model: str) -> None:
        self._lock = threading.Lock()
        self._model = model
        self._frames = 0
        # By the first bound that is not exceeded; the last holds what exceeds all.
        self._latencies = [0] * (len(_LATENCY_S) + 1)
        self._latency_s = 0.0
        self._stages_s: dict[str, float] = {}
        self._found: Counter[str] = Counter()
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._counts: tuple[Count, ...] = ()
        self._figures = Figures()

    def model(self, name: str) -> None:
        """Notes that another model runs."""
        with self._lock:
            self._model = name

    def show(self, moment: Moment) -> None:
        """Counts a moment; its latency ends now."""
        latency_s = time.monotonic() - moment.frame.captured
        with self._lock:
            self._frames += 1
            self._latencies[bisect_left(_LATENCY_S, latency_s)] += 1
            self._latency_s += latency_s
            self._stages_s = {stage: ms / 1e3 for stage, ms in moment.found.ms._asdict().items()}
            self._found.update(moment.labels[class_id] for class_id in moment.found.class_ids.tolist())
            self._events.update((event.shape, event.kind, event.direction) for event in moment.events)
            self._counts, self._figures = moment.counts, moment.figures

    def tell(self, figures: Figures) -> None:
        """Takes figures while no frame arrives."""
        with self._lock:
            self._figures = figures

    def close(self) -> None:
        """Nothing to finish."""

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return bytes(generate_latest(registry))

    def collect(self) -> list[Metric]:
        """The metrics, for Prometheus's library."""
        with self._lock:
            return [*self._counted(), *self._timed(), *self._watched(), *self._told()]

    def _counted(self) -> Iterator[Metric]:
        yield _gauge("model", "The running model", [((self._model,), 1)], "name")
        yield _counter("frames", "Results so far", [((), self._frames)])
        found = [((label,), number) for label, number in self._found.items()]
        yield _counter("detections", "Objects found", found, "label")
        yield _counter("events", "Events", self._events.items(), "shape", "kind", "direction")

    def _timed(self) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily

        bounds = [*(str(float(bound)) for bound in _LATENCY_S), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._latencies), strict=True))
        yield HistogramMetricFamily(
            "edgewren_latency_seconds", "From capture to result", buckets=buckets, sum_value=self._latency_s
        )
        stages = [((stage,), seconds) for stage, seconds in self._stages_s.items()]
        yield _gauge("stage_seconds", "Time of the last frame", stages, "stage")

    def _watched(self) -> Iterator[Metric]:
        """What lines and zones say; nothing of one that was taken away."""
        crossings = [
            ((count.name, direction, label), number)
            for count in self._counts
            for direction, numbers in (("in", count.into), ("out", count.out))
            for label, number in numbers.items()
        ]
        yield _gauge("crossings", "Counted so far", crossings, "shape", "direction", "label")
        inside = [((count.name, label), number) for count in self._counts for label, number in count.inside.items()]
        yield _gauge("inside", "Objects in a zone", inside, "shape", "label")
        dwell = [((count.name, label), seconds) for count in self._counts for label, seconds in count.dwell_s.items()]
        yield _gauge("dwell_seconds", "Time spent in a zone", dwell, "shape", "label")

    def _told(self) -> Iterator[Metric]:
        figures = self._figures
        yield _gauge("captured_frames", "Frames the source gave", [((), figures.captured)])
        yield _gauge("dropped_frames", "Frames left out so far", [((), figures.dropped)])
        left_out = [((reason,), count) for reason, count in figures.left_out.items()]
        yield _gauge("left_out_frames", "Those, by reason", left_out, "reason")
        yield _gauge("frames_per_second", "Results per second", [((), figures.fps)])
        yield _gauge("source_live", "1 where the source gives frames", [((), figures.source == "live")])
        # What cannot be told is left out: a zero would be a lie.
        if figures.temperature is not None:
            yield _gauge("temperature_celsius", "Of the processor", [((), figures.temperature)])
        if figures.throttled is not None:
            yield _gauge("throttled", "1 where the board is held back", [((), bool(figures.throttled))])


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(f"edgewren_{name}", text, labels=labels), values)


def _counter(name: str, text: str, values: _Values, *labels: str) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(f"edgewren_{name}", text, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: _Values) -> Metric:
    for key, value in values:
        family.add_metric(key, value)
    return family
