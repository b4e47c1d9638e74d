"""Scaling: one, two and four replicas of the slowest encoder, which sleeps as a GPU would."""

import contextlib
import sys
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.contenders import answers
from benchmarks.inputs import ROOT
from benchmarks.load import Closed, Target, closed_loop, warm_up
from benchmarks.mesh_process import mesh
from benchmarks.processes import Command, running, wait_until
from cli.machine import free_ports

REPLICAS: tuple[int, ...] = (1, 2, 4)
# Enough for four replicas' batches and as many that wait.
CONNECTIONS: int = 48
# Of text, image and audio.
FRESH: tuple[float, ...] = (0.0, 0.0, 1.0)


def run(bench: Bench) -> None:
    """Every number of replicas in every round, each before a mesh of its own.

    Texts and pictures repeat: what is measured is how sounds spread over replicas.
    """
    for _ in range(bench.plan.runs):
        for count in REPLICAS:
            with replicas(bench, count) as targets:
                settings = {"MESH_AUDIO_ENCODER_TARGETS": targets}
                with mesh(bench.folder / "logs/mesh", settings) as ours, ours.whole_answers():
                    target = Target(ours.predict, bench.bodies())
                    load = Closed(CONNECTIONS, bench.plan.seconds, FRESH)
                    warm_up(target, Closed(CONNECTIONS, bench.plan.warm, FRESH))
                    bench.add(f"{count} replicas", "requests/s", closed_loop(target, load).rate)


@contextlib.contextmanager
def replicas(bench: Bench, count: int) -> Iterator[str]:
    """Run so many sleeping encoders while the block lasts; their target for the gateway."""
    ports = free_ports(2 * count)
    with contextlib.ExitStack() as stack:
        for number, (port, ops) in enumerate(zip(ports[:count], ports[count:], strict=True)):
            stack.enter_context(_replica(bench, number, port, ops))
        yield "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports[:count])


@contextlib.contextmanager
def _replica(bench: Bench, number: int, port: int, ops: int) -> Iterator[None]:
    env = {"MESH_GRPC_PORT": str(port), "MESH_OPS_PORT": str(ops), "MESH_DRAIN_DELAY": "0"}
    env |= {"MESH_MODEL": str(ROOT / "models/emotion6")}
    log = bench.folder / f"logs/sleeping-{number}.log"
    argv = [sys.executable, "-m", "benchmarks.sleeping_encoder"]
    with running(Command(argv, log, env)) as process:
        wait_until(process, log, 60, lambda: answers(f"http://127.0.0.1:{ops}/readyz"))
        yield
