"""The fastest complete work without a server: `python -m benchmarks.ceiling ENGINE DTYPE ...`.

Prints one JSON object: for each size of batch, requests a second of all processes together, and the
median seconds of a batch. Each process has a model of its own and computes distinct inputs.
"""

import json
import multiprocessing
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import chain, cycle
from multiprocessing.synchronize import Barrier
from typing import Final

from benchmarks.inputs import example
from benchmarks.model import Model
from benchmarks.parts import measured
from benchmarks.setup import Setup

# Distinct requests that a process goes round; nothing here remembers an input.
DISTINCT: Final = 64
# Seconds that a process waits for the others to have loaded.
PATIENCE: Final = 300


@dataclass(frozen=True, slots=True)
class Work:
    """What every process does: batches of each size, in requests, for some seconds."""

    setup: Setup
    parts: dict[str, float]
    sizes: tuple[int, ...]
    seconds: float


def measure(work: Work, processes: int) -> dict[int, dict[str, float]]:
    """Run so many processes at once: their requests a second, and the median time of a batch."""
    context = multiprocessing.get_context("spawn")  # Forked threads of an engine would be dead.
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_meet_at, initargs=(barrier,)) as pool:
        taken = pool.map(_run, [work] * processes, chunksize=1)
    return {size: _summary(size, [one[size] for one in taken]) for size in work.sizes}


def _summary(size: int, times: list[list[float]]) -> dict[str, float]:
    rate = sum(size * len(taken) / sum(taken) for taken in times)
    return {"rate": rate, "median": statistics.median(chain.from_iterable(times))}


_barrier: Barrier


def _meet_at(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _run(work: Work) -> dict[int, list[float]]:
    """For each size the seconds of each batch, for as long as the work lasts."""
    model = Model.load(work.setup, work.parts)
    requests = cycle([example(number) for number in range(DISTINCT)])

    def batch(size: int) -> float:
        chosen = [next(requests) for _ in range(size)]
        start = time.perf_counter()
        model.predict(chosen)
        return time.perf_counter() - start

    def batches(size: int) -> list[float]:
        batch(size)  # A new shape may have to be compiled.
        _barrier.wait(PATIENCE)
        end = time.monotonic() + work.seconds
        taken = [batch(size)]
        while time.monotonic() < end:
            taken.append(batch(size))
        return taken

    return {size: batches(size) for size in work.sizes}


def main(engine: str, dtype: str, processes: str, threads: str, sizes: str, seconds: str) -> None:
    """Measure what the command line says; sizes of batches are separated by commas."""
    batches = tuple(int(size) for size in sizes.split(","))
    setup = Setup(engine, dtype, int(threads))
    # Before the others are there, and have the cores.
    work = Work(setup, measured(setup), batches, float(seconds))
    sys.stdout.write(json.dumps(measure(work, int(processes))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
