"""Latency in open loop: p50 and p99 at shares of saturation, nothing cached, all modalities."""

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

# Percent of saturation; 30, 70 and 95 are the bars', the other is for the chart.
LOADS: tuple[int, ...] = (30, 50, 70, 95)
QUICK_LOADS: tuple[int, ...] = (30, 70, 95)


def run(bench: Bench) -> None:
    """Find saturation, then go through the loads; both in every round."""
    loads = QUICK_LOADS if bench.plan.quick else LOADS
    bench.record.fact("loads", loads)
    with mesh(bench.folder / "logs/mesh") as ours, ours.whole_answers():
        target = Target(ours.predict, bench.bodies())
        for _ in range(bench.plan.runs):
            peak = saturation(bench, target)
            for load in loads:
                answers = open_loop(target, Open(peak * load / 100, 2 * bench.plan.seconds))
                _add(bench, load, answers)


def saturation(bench: Bench, target: Target) -> float:
    """Answers a second that the mesh gives when there is always more to do."""
    warm_up(target, Closed(MANY_CONNECTIONS, bench.plan.warm))
    peak = closed_loop(target, Closed(MANY_CONNECTIONS, bench.plan.seconds)).rate
    bench.add("saturation", "requests/s", peak)
    return peak


def _add(bench: Bench, load: int, answers: Answers) -> None:
    taken, everything = answers.latencies(OK), answers.latencies()
    bench.add(f"{load} %: p50", "ms", 1000 * percentile(taken, 0.5))
    bench.add(f"{load} %: p99", "ms", 1000 * percentile(taken, 0.99))
    bench.add(f"{load} %: the generator's CPU", "cores", answers.cpu)
    bench.add(f"{load} %: the generator late, p99", "ms", 1000 * answers.late)
    refused = 100 * (1 - len(taken) / len(everything))
    bench.add(f"{load} %: refused", "%", refused)
