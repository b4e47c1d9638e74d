"""Overload: twice what the mesh can take, in open loop. What is answered, and how fast refused."""

from benchmarks.bench import Bench
from benchmarks.load import OK, REFUSED, Open, Target, open_loop, percentile
from benchmarks.mesh_process import mesh
from benchmarks.sections.latency import Figures, measure

TIMES: float = 2.0
# Seconds until as many requests as are taken in wait: until then fewer are refused, and what is
# begun and not yet answered grows.
RAMP: float = 1.0


def run(bench: Bench) -> None:
    """Saturation and overload by turns. Bodies are of a tenth of a MiB."""
    with mesh(bench.folder / "logs/mesh") as ours:
        measure(bench, Target(ours.predict, bench.bodies()), _of_overload)


def _of_overload(target: Target, peak: float, seconds: float) -> Figures:
    answers = open_loop(target, Open(TIMES * peak, seconds, RAMP))
    refusals = answers.latencies(REFUSED)
    return {
        ("goodput", "requests/s"): answers.rate(OK),
        ("refused", "requests/s"): answers.rate(REFUSED),
        ("neither", "requests/s"): answers.rate() - answers.rate(OK, REFUSED),
        ("refusals: p50", "ms"): 1000 * percentile(refusals, 0.5),
        ("refusals: p99", "ms"): 1000 * percentile(refusals, 0.99),
        ("the generator late, p99", "ms"): 1000 * answers.late,
    }
