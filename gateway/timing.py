"""How long each stage of a request takes."""

import time

from gateway.contract import STAGES
from gateway.metrics import GatewayMetrics


class StageTimer:
    """Times the stages of one request, for its answer and for the metrics."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._stages = dict.fromkeys(STAGES, 0.0)

    def stage(self, name: str) -> "_Stage":
        """Add the block's duration to stage `name`."""
        return _Stage(self, name)

    def add(self, name: str, seconds: float) -> None:
        """Add so much to stage `name`."""
        self._metrics.stages[name].observe(seconds)
        self._stages[name] += seconds

    def finish(self) -> dict[str, float]:
        """Milliseconds a stage, 0 for one that was not needed."""
        return {name: round(1000 * seconds, 3) for name, seconds in self._stages.items()}


class _Stage:
    """A block that is timed. A class, since a generator takes twice as long to enter and leave."""

    __slots__ = ("_name", "_started", "_timer")

    def __init__(self, timer: StageTimer, name: str) -> None:
        self._timer = timer
        self._name = name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timer.add(self._name, time.perf_counter() - self._started)
