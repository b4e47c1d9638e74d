"""Overload: twice what the mesh can take, in open loop. What is answered, and how fast refused."""

from functools import partial

from benchmarks.answers import percentile
from benchmarks.bench import MANY_CONNECTIONS, Bench
from benchmarks.load import OK, REFUSED, Closed, Target, warm_up
from benchmarks.mesh_process import mesh
from benchmarks.processes import BenchError
from benchmarks.sections.latency import SATURATION, at
from benchmarks.turns import Figures, in_turns

TIMES: float = 2.0


def run(bench: Bench) -> None:
    """Saturation and overload by turns. Bodies are of a tenth of a MiB."""
    with mesh(bench.folder / "logs/mesh") as ours:
        target = Target(ours.predict, bench.bodies())
        warm_up(target, Closed(MANY_CONNECTIONS, bench.plan.warm))
        turns = {"overload": partial(_turn, target, bench.plan.seconds)}
        for _ in range(bench.plan.runs):
            found = in_turns(turns, bench.plan.turns)["overload"]
            for (name, unit), value in found.items():
                bench.add(name, unit, value)


def _turn(target: Target, seconds: float) -> Figures:
    peak, answers = at(TIMES, target, seconds)
    if not (refusals := answers.latencies(REFUSED)):
        raise BenchError(f"nothing was refused at {TIMES:g} times saturation, {peak:.0f}/s")
    return {
        SATURATION: peak,
        ("goodput", "requests/s"): answers.rate(OK),
        ("refused", "requests/s"): answers.rate(REFUSED),
        ("neither", "requests/s"): answers.rate() - answers.rate(OK, REFUSED),
        ("refusals: p50", "ms"): 1000 * percentile(refusals, 0.5),
        ("refusals: p99", "ms"): 1000 * percentile(refusals, 0.99),
        ("the generator late, p99", "ms"): 1000 * answers.late,
    }
