"""Peers: the mesh beside other servers of the same model, and beside the ceiling."""

import os

from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.contenders import (
    MESH,
    Contender,
    classes,
    documented,
    require_answer,
    require_same,
    the_mesh,
    tuned,
)
from benchmarks.load import Closed, Outcome, Target, closed_loop, warm_up
from benchmarks.peers import TUNED
from benchmarks.processes import BenchError

HALF: tuple[str, ...] = (MESH, *(peer.name for peer in TUNED))
# How often a server may be begun in a round.
TRIES = 3


def run(bench: Bench) -> None:
    """Start each in turn, ask it in the same ways, end it; all of them in every round."""
    best = bench.best
    # A worker on each core: with larger batches one takes what all connections send.
    batch = min(best.batch, max(1, CONNECTIONS // (os.cpu_count() or 1)))
    bench.record.fact("tuned peers' batch", batch)
    # A worker of theirs has one thread.
    parts = bench.program("parts", best.engine, best.dtype, "1")
    bench.record.fact("tuned peers' parts of it", parts)
    contenders = [
        the_mesh(bench.folder, lambda engines: bench.record.fact("engines", engines)),
        *tuned(bench.folder, best.engine, best.dtype, batch, parts),
        *documented(bench.folder),
    ]
    expected: list[str] = []
    for _ in range(bench.plan.runs):
        _measure_ceiling(bench)
        for contender in list(contenders):
            try:
                _measure(bench, contender, expected)
            except BenchError as error:
                bench.leave_out(contender.name, error)
                contenders.remove(contender)


def _measure_ceiling(bench: Bench) -> None:
    found = bench.ceiling(bench.best, bench.plan.seconds)
    bench.add("ceiling: throughput", "requests/s", found["rate"])
    found = bench.ceiling(bench.quickest, bench.plan.seconds / 2)
    bench.add("ceiling: one client", "ms", 1000 * found["median"])


def _measure(bench: Bench, contender: Contender, expected: list[str]) -> None:
    """All figures of one server. Its answers have to be those of the first, which is the mesh.

    A server that fails is started again, TRIES times in all.
    """
    for tried in range(1, TRIES + 1):
        bench.say(f" {contender.name}")
        try:
            figures = _figures(bench, contender, expected)
        except BenchError as error:
            if tried == TRIES:
                raise
            bench.say(f"  again, since {error}")
        else:
            for (name, unit), value in figures.items():
                bench.add(f"{contender.name}: {name}", unit, value)
            return


def _figures(
    bench: Bench, contender: Contender, expected: list[str]
) -> dict[tuple[str, str], float]:
    with contender.start() as serving:
        bodies = bench.bodies(form=contender.form)
        found = classes(serving.url, bodies)
        expected[:] = expected or found
        require_same(found, expected)
        target, plan = Target(serving.url, bodies), bench.plan
        warm_up(target, Closed(CONNECTIONS, plan.warm))
        busy = closed_loop(target, Closed(CONNECTIONS, plan.seconds))
        alone = closed_loop(target, Closed(1, plan.seconds / 2))
        figures = {
            ("throughput", "requests/s"): busy.rate,
            ("the generator's CPU", "cores"): busy.cpu,
            ("one client", "ms"): 1000 * alone.p50,
        }
        if contender.name in HALF:
            half = half_repeating(target, plan.seconds)
            figures["half repeats", "requests/s"] = half.rate
        require_answer(serving.url, bodies)  # One whose workers have just ended weighs little.
        return figures | {("memory", "MiB"): serving.memory()}


def half_repeating(target: Target, seconds: float) -> Outcome:
    """Half of the inputs are fresh; those that repeat have been sent before."""
    warm_up(target, Closed(CONNECTIONS, seconds / 4, fresh=0))
    return closed_loop(target, Closed(CONNECTIONS, seconds, fresh=0.5))
