"""Latency in open loop: p50 and p99 at shares of saturation, nothing cached, all modalities."""

from collections.abc import Callable, Sequence
from functools import partial

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
from benchmarks.turns import repeated

# Percent of saturation; 30, 70 and 95 are the bars', the other is for the chart.
LOADS: tuple[int, ...] = (30, 50, 70, 95)
QUICK_LOADS: tuple[int, ...] = (30, 70, 95)

# By name and unit.
Figures = dict[tuple[str, str], float]


def run(bench: Bench) -> None:
    """Find saturation, then go through the loads; several times in every round."""
    loads = QUICK_LOADS if bench.plan.quick else LOADS
    bench.record.fact("loads", loads)
    with mesh(bench.folder / "logs/mesh") as ours, ours.whole_answers():
        measure(bench, Target(ours.predict, bench.bodies()), partial(_of_loads, loads))


def measure(
    bench: Bench, target: Target, figures: Callable[[Target, float, float], Figures]
) -> None:
    """Add saturation, and what is found of a target, so many answers a second, in some seconds.

    In every round these are means of several turns, each with a saturation of its own.
    """
    warm_up(target, Closed(MANY_CONNECTIONS, bench.plan.warm))

    def turn() -> Figures:
        peak = closed_loop(target, Closed(MANY_CONNECTIONS, bench.plan.seconds / 2)).rate
        return {("saturation", "requests/s"): peak, **figures(target, peak, bench.plan.seconds)}

    for _ in range(bench.plan.runs):
        for (name, unit), value in repeated(turn, bench.plan.turns).items():
            bench.add(name, unit, value)


def _of_loads(loads: Sequence[int], target: Target, peak: float, seconds: float) -> Figures:
    found = {load: open_loop(target, Open(peak * load / 100, seconds)) for load in loads}
    return {
        (f"{load} %: {name}", unit): value
        for load, answers in found.items()
        for (name, unit), value in _of(answers).items()
    }


def _of(answers: Answers) -> Figures:
    taken, everything = answers.latencies(OK), answers.latencies()
    return {
        ("p50", "ms"): 1000 * percentile(taken, 0.5),
        ("p99", "ms"): 1000 * percentile(taken, 0.99),
        ("the generator's CPU", "cores"): answers.cpu,
        ("the generator late, p99", "ms"): 1000 * answers.late,
        ("refused", "%"): 100 * (1 - len(taken) / len(everything)),
    }
