"""Mixes: what is cached, which modalities are sent, and long inputs among short ones."""

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.bodies import EVERYTHING, MIXES
from benchmarks.contenders import answers
from benchmarks.load import Closed, Target, closed_loop, half_repeating, warm_up
from benchmarks.mesh_process import Mesh, mesh
from benchmarks.processes import Command, family, running, wait_until
from benchmarks.turns import in_turns
from cli.homes import move
from cli.machine import free_ports

CONSTANT: str = "constant answer"
BARE: str = "constant answer without Flask"
LIGHT: str = "light"
# Of the usual seconds: these figures have no bar.
SHARE: float = 0.5


def run(bench: Bench) -> None:
    """All mixes in turn, in every round, by one mesh that serves throughout."""
    with (
        constant_gateway(bench) as (constant, pid),
        mesh(bench.folder / "logs/mesh") as ours,
        ours.whole_answers(),
    ):
        for one in family([pid]):  # Else the gateway alone would have a home core.
            move(one, frozenset(os.sched_getaffinity(ours.pids()["gateway"][-1])))
        warm_up(Target(ours.predict, bench.bodies()), Closed(CONNECTIONS, bench.plan.warm))
        for _ in range(bench.plan.runs):
            _measure_cached(bench, ours, constant)
            for mix in MIXES:
                if mix not in (EVERYTHING, LIGHT):
                    _measure_mix(bench, ours, mix)


def _measure_mix(bench: Bench, ours: Mesh, mix: str) -> None:
    load = Closed(CONNECTIONS, SHARE * bench.plan.seconds)
    found = closed_loop(Target(ours.predict, bench.bodies(mix)), load)
    bench.add(mix, "requests/s", found.rate)
    bench.add(f"{mix}: p99", "ms", 1000 * found.p99)


def _measure_cached(bench: Bench, ours: Mesh, constant: str) -> None:
    target, seconds = Target(ours.predict, bench.bodies()), bench.plan.seconds
    nothing = closed_loop(target, Closed(CONNECTIONS, seconds))
    bench.add("nothing cached", "requests/s", nothing.rate)
    bench.add("half cached", "requests/s", half_repeating(target, CONNECTIONS, seconds).rate)
    places = {"all cached": ours.predict, CONSTANT: f"{constant}/predict", BARE: f"{constant}/bare"}
    again = {name: Target(url, target.bodies) for name, url in places.items()}
    for one in again.values():
        warm_up(one, Closed(CONNECTIONS, bench.plan.warm, fresh=0))
    turns = {name: partial(_all_cached, one, seconds / 2) for name, one in again.items()}
    for name, found in in_turns(turns, bench.plan.turns).items():
        bench.add(name, "requests/s", found["rate"])
        bench.add(f"{name}: the generator's CPU", "cores", found["cpu"])


def _all_cached(target: Target, seconds: float) -> dict[str, float]:
    found = closed_loop(target, Closed(CONNECTIONS, seconds, fresh=0))
    return {"rate": found.rate, "cpu": found.cpu}


@contextlib.contextmanager
def constant_gateway(bench: Bench) -> Iterator[tuple[str, int]]:
    """Run benchmarks.constant_gateway while the block lasts; its URL and its process."""
    (port,) = free_ports(1)
    log = bench.folder / "logs/constant.log"
    env = {"MESH_HTTP_PORT": str(port), "MESH_DRAIN_DELAY": "0"}
    argv = [sys.executable, "-m", "benchmarks.constant_gateway"]
    url = f"http://127.0.0.1:{port}"
    with running(Command(argv, log, env)) as process:
        wait_until(process, log, 60, lambda: answers(url))
        yield url, process.pid
