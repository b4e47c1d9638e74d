"""Batches: inputs a second by size of batch, for each encoder and engine.

On one thread of the CPU, and on a GPU where there is one.
"""

from benchmarks.bench import Bench
from benchmarks.processes import BenchError
from benchmarks.setup import ON_GPU, Setup, setups


def run(bench: Bench) -> None:
    """Measure each engine in turn, in every round."""
    bench.record.fact("sizes", bench.plan.batches)
    engines = [*setups(), *ON_GPU]
    for _ in range(bench.plan.runs):
        for setup in list(engines):
            try:
                _measure(bench, setup)
            except BenchError as error:
                bench.leave_out(setup.name, error)
                engines.remove(setup)


def _measure(bench: Bench, setup: Setup) -> None:
    sizes = bench.plan.batches
    seconds = str(bench.plan.seconds / 20)
    given = (setup.engine, setup.dtype, setup.device, ",".join(map(str, sizes)), seconds)
    for modality, rates in bench.program("encoder_speed", *given).items():
        for size, rate in zip(sizes, rates, strict=True):
            bench.add(f"{modality}, {setup.name}: batch {size}", "inputs/s", rate)
