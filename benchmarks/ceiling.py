"""The fastest complete work without a server: `python -m benchmarks.ceiling ENGINE DTYPE ...`.

Each line of its input is an order: a size of batch, and seconds. For each it prints a JSON object:
requests a second of all processes together, and the median seconds of a batch. Each process has a
model of its own and computes distinct inputs; between orders none of them does anything.
"""

import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, cycle
from multiprocessing.synchronize import Barrier
from typing import Any, Final

from benchmarks.inputs import example
from benchmarks.model import Model
from benchmarks.setup import Setup

# Distinct requests that a process goes round; nothing here remembers an input.
DISTINCT: Final = 64
# Seconds that a process waits for the others to have loaded.
PATIENCE: Final = 300

# Of each process: what it computes with, the requests that come next, and where all meet.
_model: Model
_requests: Iterator[Mapping[str, Any]]
_barrier: Barrier


def _load(setup: Setup, parts: dict[str, float], barrier: Barrier) -> None:
    global _model, _requests, _barrier
    _model, _barrier = Model.load(setup, parts), barrier
    _requests = cycle([example(number) for number in range(DISTINCT)])


def _run(size: int, seconds: float) -> list[float]:
    """The seconds of each batch, for as long as the order says; all processes begin together."""
    _batch(size)  # A new shape may have to be compiled.
    _barrier.wait(PATIENCE)
    end = time.monotonic() + seconds
    taken = [_batch(size)]
    while time.monotonic() < end:
        taken.append(_batch(size))
    return taken


def _batch(size: int) -> float:
    chosen = [next(_requests) for _ in range(size)]
    start = time.perf_counter()
    _model.predict(chosen)
    return time.perf_counter() - start


def _summary(size: int, times: list[list[float]]) -> dict[str, float]:
    rate = sum(size * len(taken) / sum(taken) for taken in times)
    return {"rate": rate, "median": statistics.median(chain.from_iterable(times))}


def main(engine: str, dtype: str, processes: str, threads: str, parts: str) -> None:
    """Load what the command line says, then do what each line of input does.

    `parts` is what benchmarks.parts prints.
    """
    count = int(processes)
    context = multiprocessing.get_context("spawn")  # Forked threads of an engine would be dead.
    loaded = Setup(engine, dtype, int(threads)), json.loads(parts), context.Barrier(count)
    with ProcessPoolExecutor(count, context, _load, loaded) as pool:
        for order in sys.stdin:
            size, seconds = order.split()
            # The barrier lets no process have two of them.
            begun = [pool.submit(_run, int(size), float(seconds)) for _ in range(count)]
            found = _summary(int(size), [one.result() for one in begun])
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
