"""Scaling: one, two and four replicas of the slowest encoder, which sleeps as a GPU would."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.bench import Bench
from benchmarks.contenders import answers
from benchmarks.inputs import ROOT
from benchmarks.load import Closed, Target, closed_loop, warm_up
from benchmarks.mesh_process import Mesh, mesh
from benchmarks.processes import Command, running, wait_until
from cli.machine import free_ports

REPLICAS: tuple[int, ...] = (1, 2, 4)
# Enough for four replicas' batches and as many that wait.
CONNECTIONS: int = 48
# For so many connections, and as many that wrk has left behind after warming up.
SETTINGS: dict[str, str] = {"MESH_MAX_IN_FLIGHT": str(3 * CONNECTIONS)}
# Of text, image and audio.
FRESH: tuple[float, ...] = (0.0, 0.0, 1.0)
# Seconds in which a gateway that keeps asking an address finds who has come there.
FOUND: float = 2.0

# The gRPC and the ops port of each replica.
Ports = Sequence[tuple[int, int]]


def run(bench: Bench) -> None:
    """Replicas come and go before one mesh, whose gateway is told of all their addresses.

    Texts and pictures repeat: what is measured is how sounds spread over replicas.
    """
    count = max(REPLICAS)
    free = free_ports(2 * count)
    ports = list(zip(free[:count], free[count:], strict=True))
    targets = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port, _ in ports)
    settings = SETTINGS | {"MESH_AUDIO_ENCODER_TARGETS": targets}
    bench.record.fact("settings", SETTINGS)
    with replicas(bench, ports[:1]), mesh(bench.folder / "logs/mesh", settings) as ours:
        for _ in range(bench.plan.runs):
            for count in REPLICAS:
                with replicas(bench, ports[1:count]):
                    _measure(bench, ours, count)


def _measure(bench: Bench, ours: Mesh, count: int) -> None:
    target = Target(ours.predict, bench.bodies())
    time.sleep(FOUND)
    with ours.whole_answers():
        warm_up(target, Closed(CONNECTIONS, bench.plan.warm, FRESH))
        found = closed_loop(target, Closed(CONNECTIONS, 2 * bench.plan.seconds, FRESH))
    bench.add(f"{count} replicas", "requests/s", found.rate)


@contextlib.contextmanager
def replicas(bench: Bench, ports: Ports) -> Iterator[None]:
    """Run a sleeping encoder on each pair of ports while the block lasts."""
    with contextlib.ExitStack() as stack:
        waits = [stack.enter_context(_replica(bench, *pair)) for pair in ports]
        for wait in waits:
            wait()
        yield


@contextlib.contextmanager
def _replica(bench: Bench, port: int, ops: int) -> Iterator[Callable[[], None]]:
    """Start one; what waits until it is ready."""
    env = {"MESH_GRPC_PORT": str(port), "MESH_OPS_PORT": str(ops), "MESH_DRAIN_DELAY": "0"}
    env |= {"MESH_MODEL": str(ROOT / "models/emotion6")}
    log = bench.folder / f"logs/sleeping-{port}.log"
    argv = [sys.executable, "-m", "benchmarks.sleeping_encoder"]
    with running(Command(argv, log, env)) as process:
        yield lambda: wait_until(
            process, log, 60, lambda: answers(f"http://127.0.0.1:{ops}/readyz")
        )
