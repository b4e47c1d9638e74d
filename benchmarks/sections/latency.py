"""Latency in open loop: p50 and p99 at shares of saturation, nothing cached, all modalities."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Final

from benchmarks.bench import MANY_CONNECTIONS, Bench
from benchmarks.load import (
    OK,
    Answers,
    Closed,
    Open,
    Target,
    closed_loop,
    open_loop,
    percentile,
    warm_up,
)
from benchmarks.mesh_process import mesh
from mesh.settings import GatewaySettings

# Percent of saturation; 30, 70 and 95 are the bars', the other is for the chart.
LOADS: tuple[int, ...] = (30, 50, 70, 95)
QUICK_LOADS: tuple[int, ...] = (30, 70, 95)
# Seconds in which queues fill, at least, and the requests that the mesh takes at a time.
RAMP: Final = 1.0
PLACES: Final[int] = GatewaySettings.model_fields["max_in_flight"].default


def run(bench: Bench) -> None:
    """Find saturation, then go through the loads; several times in every round."""
    loads = QUICK_LOADS if bench.plan.quick else LOADS
    bench.record.fact("loads", loads)
    with mesh(bench.folder / "logs/mesh") as ours, ours.whole_answers():
        target = Target(ours.predict, bench.bodies())
        for found in rounds(bench, target, [load / 100 for load in loads]):
            for load, answers in zip(loads, found, strict=True):
                _add(bench, load, answers)


def rounds(bench: Bench, target: Target, shares: Sequence[float]) -> Iterator[list[Answers]]:
    """In every round the answers at these shares of saturation, which is added to the figures.

    They are those of several turns, each with a saturation of its own.
    """
    warm_up(target, Closed(MANY_CONNECTIONS, bench.plan.warm))
    for _ in range(bench.plan.runs):
        turns = [_turn(target, shares, bench.plan.seconds) for _ in range(bench.plan.turns)]
        bench.add("saturation", "requests/s", fmean(peak for peak, _ in turns))
        yield [Answers.pooled(parts) for parts in zip(*(found for _, found in turns), strict=True)]


def _turn(target: Target, shares: Sequence[float], seconds: float) -> tuple[float, list[Answers]]:
    peak = closed_loop(target, Closed(MANY_CONNECTIONS, seconds / 2)).rate
    ramp = max(RAMP, PLACES / peak)
    return peak, [open_loop(target, Open(peak * share, seconds, ramp)) for share in shares]


def _add(bench: Bench, load: int, answers: Answers) -> None:
    taken, everything = answers.latencies(OK), answers.latencies()
    bench.add(f"{load} %: p50", "ms", 1000 * percentile(taken, 0.5))
    bench.add(f"{load} %: p99", "ms", 1000 * percentile(taken, 0.99))
    bench.add(f"{load} %: the generator's CPU", "cores", answers.cpu)
    bench.add(f"{load} %: the generator late, p99", "ms", 1000 * answers.late)
    refused = 100 * (1 - len(taken) / len(everything))
    bench.add(f"{load} %: refused", "%", refused)
