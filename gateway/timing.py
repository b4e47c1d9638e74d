"""How long each stage of a request takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.metrics import GatewayMetrics


class StageTimer:
    """Times the stages of one request, for its answer and for the metrics."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._stages = {"cache": 0.0, "encode": 0.0, "fuse": 0.0}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's duration to stage `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._add(name, time.perf_counter() - started)

    def _add(self, name: str, seconds: float) -> None:
        self._metrics.stages[name].observe(seconds)
        self._stages[name] += seconds

    def finish(self) -> dict[str, float]:
        """Milliseconds a stage, 0 for one that was not needed."""
        return {name: round(1000 * seconds, 3) for name, seconds in self._stages.items()}
