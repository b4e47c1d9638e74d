"""What the gateway counts, in a registry of its own; `GET /metrics` shows it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

# Seconds. A cached answer takes one of them, a busy mesh ten.
STAGE_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class GatewayMetrics:
    """Every metric of one gateway process. Safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        by_modality = ["modality"]

        self.requests = counter("mesh_requests_total", "Answers to POST /predict.", ["code"])
        self.stage_seconds = Histogram(
            "mesh_stage_seconds",
            "How long each stage of a request took: total, cache, encode, fuse.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = gauge("mesh_in_flight", "Requests that are admitted now.")
        self.in_flight_bytes = gauge("mesh_in_flight_bytes", "Body bytes reserved for them.")

        self.cache = counter("mesh_cache_total", "Entries looked up.", ["modality", "result"])
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
        ProcessCollector(registry=self.registry)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Observe how long the block takes, also when it raises."""
        started = perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(stage).observe(perf_counter() - started)

    def text(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)
