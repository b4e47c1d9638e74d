"""Latency in open loop: p50 and p99 at shares of saturation, nothing cached, all modalities."""

from functools import partial
from statistics import fmean
from typing import Final

from benchmarks.answers import Answers, percentile
from benchmarks.bench import MANY_CONNECTIONS, Bench
from benchmarks.load import OK, Closed, Open, Target, closed_loop, open_loop, warm_up
from benchmarks.mesh_process import mesh
from benchmarks.turns import Figures, in_turns
from mesh.settings import GatewaySettings

# Percent of saturation; 30, 70 and 95 are the bars', the other is for the chart.
LOADS: tuple[int, ...] = (30, 50, 70, 95)
QUICK_LOADS: tuple[int, ...] = (30, 70, 95)
# Seconds in which queues fill, at least.
RAMP: Final = 1.0
# The requests that the mesh takes at a time: so many more than it can do fill its queues.
PLACES: Final[int] = GatewaySettings.model_fields["max_in_flight"].default

SATURATION: Final = ("saturation", "requests/s")


def run(bench: Bench) -> None:
    """The loads take turns, several times in every round."""
    loads = QUICK_LOADS if bench.plan.quick else LOADS
    bench.record.fact("loads", loads)
    with mesh(bench.folder / "logs/mesh") as ours, ours.whole_answers():
        target = Target(ours.predict, bench.bodies())
        warm_up(target, Closed(MANY_CONNECTIONS, bench.plan.warm))
        turns = {load: partial(_turn, target, load, bench.plan.seconds) for load in loads}
        for _ in range(bench.plan.runs):
            found = in_turns(turns, bench.plan.turns)
            bench.add(*SATURATION, fmean(figures[SATURATION] for figures in found.values()))
            for load, figures in found.items():
                for (name, unit), value in figures.items():
                    if (name, unit) != SATURATION:
                        bench.add(f"{load} %: {name}", unit, value)


def at(share: float, target: Target, seconds: float) -> tuple[float, Answers]:
    """Saturation, and what is answered in so many seconds at a share of it.

    It is found anew each time: what the machine can do changes within seconds.
    """
    peak = closed_loop(target, Closed(MANY_CONNECTIONS, seconds / 2)).rate
    ramp = max(RAMP, PLACES / peak)
    return peak, open_loop(target, Open(share * peak, seconds, ramp))


def _turn(target: Target, load: int, seconds: float) -> Figures:
    peak, answers = at(load / 100, target, seconds)
    taken, everything = answers.latencies(OK), answers.latencies()
    return {
        SATURATION: peak,
        ("p50", "ms"): 1000 * percentile(taken, 0.5),
        ("p99", "ms"): 1000 * percentile(taken, 0.99),
        ("the generator's CPU", "cores"): answers.cpu,
        ("the generator late, p99", "ms"): 1000 * answers.late,
        ("refused", "%"): 100 * (1 - len(taken) / len(everything)),
    }
