"""What the gateway counts; `GET /metrics` shows it.

A gateway of one process counts in its own memory. One of several counts in files of a folder, one
for each process and kind, and whichever is asked adds all of them up. A process that takes a dead
one's place goes on with its files, so no count goes back.
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway.contract import STAGES
from gateway.sharing import Share, Tally
from mesh.embedding import Modality

# Seconds. A cached answer takes one of them, a busy mesh ten.
STAGE_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class GatewayMetrics:
    """Every metric of one gateway process. Safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # What is shown: all processes' together, where there are several.
        self.shown = self.registry
        counter = partial(Counter, registry=self.registry)
        by_modality = ["modality"]

        self.requests = counter("mesh_requests_total", "Answers to POST /predict.", ["code"])
        self.stage_seconds = Histogram(
            "mesh_stage_seconds",
            f"How long each stage of a request took: total, {', '.join(STAGES)}.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self.stages = {name: self.stage_seconds.labels(name) for name in ("total", *STAGES)}
        self._answers: dict[int, Counter] = {}
        self.cache = counter("mesh_cache_total", "Entries looked up.", ["modality", "result"])
        # Once for all, as for answers.
        self._looked_up = {
            (kind, hit): self.cache.labels(kind, "hit" if hit else "miss")
            for kind in ("result", *Modality)
            for hit in (True, False)
        }
        self.cache_round_trips = counter("mesh_cache_round_trips_total", "MGETs sent to Redis.")
        self.cache_errors = counter(
            "mesh_cache_errors_total", "Redis operations that failed.", ["operation"]
        )
        self.degraded = counter(
            "mesh_degraded_total",
            "Modalities that an answer went without by our fault.",
            ["modality", "reason"],
        )
        self.encode_calls = counter("mesh_encode_calls_total", "Encode calls sent.", by_modality)
        self.encode_items = counter("mesh_encode_items_total", "Items in them.", by_modality)
        self.classify_calls = counter("mesh_classify_calls_total", "Classify calls sent.")

    @classmethod
    def of(cls, share: Share) -> "GatewayMetrics":
        """The metrics of that process, with what all of them have admitted."""
        if share.metrics is None:
            metrics = cls()
            ProcessCollector(registry=metrics.registry)
        else:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(share.metrics)
            values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]
                lambda: share.index
            )
            metrics = cls()
            metrics.shown = CollectorRegistry()
            MultiProcessCollector(  # type: ignore[no-untyped-call]
                metrics.shown, str(share.metrics)
            )
        metrics.shown.register(_Admitted(share.tally))
        return metrics

    def answered(self, status: int) -> None:
        """One answer to POST /predict."""
        if status not in self._answers:  # Labels are texts, and dear to look up by.
            self._answers[status] = self.requests.labels(str(status))
        self._answers[status].inc()

    def looked_up(self, kind: str, hit: bool) -> None:
        """One look for a result, or for a modality's embedding."""
        self._looked_up[kind, hit].inc()

    def recalled(self, seconds: float) -> None:
        """One answer that this process knew, and how long it took to find it."""
        self.looked_up("result", hit=True)
        self.stages["cache"].observe(seconds)

    def text(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return generate_latest(self.shown)


class _Admitted(Collector):
    """What all processes have admitted, whichever is asked."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read it now."""
        requests, size = self._tally.requests, self._tally.bytes
        yield GaugeMetricFamily("mesh_in_flight", "Requests that are admitted now.", requests)
        yield GaugeMetricFamily("mesh_in_flight_bytes", "Body bytes reserved for them.", size)
