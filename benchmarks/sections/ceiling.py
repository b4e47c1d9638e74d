"""Ceiling: which engine, batch and layout does the complete work fastest, without any server."""

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial

from benchmarks.bench import Bench, Best
from benchmarks.processes import BenchError
from benchmarks.setup import Setup, setups
from benchmarks.turns import in_turns


def run(bench: Bench) -> None:
    """Try every way once, for the others to be measured beside the best one.

    In int8 the work is another: it is shown, but nothing is measured beside it.
    """
    rates: dict[Best, float] = {}
    times: dict[Best, float] = {}
    for setup in setups():
        try:
            for way, found in _ways(bench, setup):
                bench.add(_name(way), "requests/s", found["rate"])
                if way.dtype == "int8":
                    continue
                rates[way] = found["rate"]
                if way.batch == way.processes == 1:
                    times[way] = found["median"]
        except BenchError as error:
            bench.leave_out(setup.name, error)
    if not rates:
        raise BenchError("no engine can do the work")
    bench.record.fact("best", asdict(max(rates, key=rates.__getitem__)))
    bench.record.fact("quickest", asdict(min(times, key=times.__getitem__)))


def _ways(bench: Bench, setup: Setup) -> Iterator[tuple[Best, dict[str, float]]]:
    """One process with all cores, and one on each core, with every batch."""
    cores = len(os.sched_getaffinity(0))
    for processes, threads in sorted({(1, cores), (cores, 1)}):
        layout = replace(setup, threads=threads)
        with bench.ceiling(layout, processes, bench.parts(layout)) as ceiling:
            seconds = bench.plan.seconds / 4
            ways = {size: partial(ceiling.measure, size, seconds) for size in bench.plan.ways}
            found = in_turns(ways, bench.plan.turns)
        for size, figures in found.items():
            yield Best(setup.engine, setup.dtype, processes, threads, size), figures


def _name(way: Best) -> str:
    layout = f"{way.processes} x {way.threads} threads"
    return f"{way.engine} {way.dtype}, {layout}: batch {way.batch}"
