"""Batches: one thread's inputs a second by size of batch, for each encoder and engine."""

from benchmarks.bench import Bench
from benchmarks.processes import BenchError
from benchmarks.setup import Setup, setups


def run(bench: Bench) -> None:
    """Measure each engine in turn, in every round."""
    bench.record.fact("sizes", bench.plan.batches)
    engines = setups()
    for _ in range(bench.plan.runs):
        for setup in list(engines):
            try:
                _measure(bench, setup)
            except BenchError as error:
                bench.leave_out(setup.name, error)
                engines.remove(setup)


def _measure(bench: Bench, setup: Setup) -> None:
    sizes = bench.plan.batches
    given = (setup.engine, setup.dtype, ",".join(map(str, sizes)), str(bench.plan.seconds / 20))
    for modality, rates in bench.program("encoder_speed", *given).items():
        for size, rate in zip(sizes, rates, strict=True):
            bench.add(f"{modality}, {setup.name}: batch {size}", "inputs/s", rate)
