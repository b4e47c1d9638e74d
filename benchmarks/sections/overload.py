"""Overload: twice what the mesh can take, in open loop. What is answered, and how fast refused."""

from benchmarks.bench import Bench
from benchmarks.load import OK, REFUSED, Target, percentile
from benchmarks.mesh_process import mesh
from benchmarks.sections.latency import rounds

TIMES: float = 2.0


def run(bench: Bench) -> None:
    """Saturation and overload by turns. Bodies are of a tenth of a MiB."""
    with mesh(bench.folder / "logs/mesh") as ours:
        for (answers,) in rounds(bench, Target(ours.predict, bench.bodies()), [TIMES]):
            refusals = answers.latencies(REFUSED)
            bench.add("goodput", "requests/s", answers.rate(OK))
            bench.add("refused", "requests/s", answers.rate(REFUSED))
            others = answers.rate() - answers.rate(OK, REFUSED)
            bench.add("neither", "requests/s", others)
            bench.add("refusals: p50", "ms", 1000 * percentile(refusals, 0.5))
            bench.add("refusals: p99", "ms", 1000 * percentile(refusals, 0.99))
            bench.add("the generator late, p99", "ms", 1000 * answers.late)
