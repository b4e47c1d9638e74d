"""Processes on their home cores: real ones, and an ops port that says what an encoder costs."""

import asyncio
import os

import psutil
import pytest

from cli.homes import Homes, family, move, spent
from cli.topology import Process
from cli.watch import Watched
from mesh.batching import Batcher
from mesh.grouping import BatchLimits
from tests.integration.placed import CORES, family_of, ops_port, places, running
from tests.unit.mesh.workbench import Doubler, Notes

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that a process can have")


def test_all_threads_are_moved_and_those_that_they_start() -> None:
    """To all processors of the core, and to no other one."""
    with running() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        move(process.pid, CORES[1])
        print("more", file=process.stdin, flush=True)
        process.stdout.readline()

        assert places(process.pid) == [set(CORES[1])] * 5


async def test_a_batchers_further_workers_roam() -> None:
    """Its own process is moved here: of two workers the second stays on all cores."""
    before = os.sched_getaffinity(0)
    batcher = Batcher([Doubler(), Doubler()], BatchLimits(8, 8.0), 8, Notes())
    batcher.start()
    try:
        move(os.getpid(), CORES[1])
        [roaming] = [where for where in places(os.getpid()) if where != set(CORES[1])]
        assert roaming == before
    finally:
        for task in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(task), before)
        await batcher.close(1.0)


def test_whoever_has_ended_is_not_moved() -> None:
    """A node may die in that moment."""
    with running() as process:
        pass
    move(process.pid, CORES[1])


@pytest.mark.parametrize(
    ("name", "said", "threads", "moved"),
    [
        ("text-encoder", b'{"core_seconds": 0.005}', "1", True),
        ("text-encoder", b'{"core_seconds": 0.005}', "2", False),
        ("text-encoder", b'{"core_seconds": null}', "1", False),
        ("text-encoder", b"{}", "1", False),
        ("text-encoder", b"what?", "1", False),
        ("text-encoder", b"[]", "1", False),
        ("text-encoder", b'{"core_seconds": "much"}', "1", False),
        ("fusion", b'{"core_seconds": 0.005}', "1", False),
    ],
)
def test_who_computes_on_one_thread_of_the_cpu_is_moved(
    name: str, said: bytes, threads: str, moved: bool
) -> None:
    """And nobody else, nor who says nothing of it."""
    with running() as process, ops_port(said) as url:
        node = Process(name, (), {"MESH_THREADS": threads}, url, rank=1)
        asyncio.run(Homes(CORES[:1]).settle([Watched(node, 0.0, "ready", process.pid)]))

        allowed = set(CORES[0]) if moved else set(psutil.Process().cpu_affinity() or ())
        assert places(process.pid) == [allowed] * 4


@pytest.mark.parametrize(("gateways", "moved"), [(1, True), (2, False)])
def test_what_is_not_an_encoder_has_one_home_together(gateways: int, moved: bool) -> None:
    """Where an encoder has one, and the gateway is a single process beside that which starts it."""
    with (
        running() as encoder,
        ops_port(b'{"core_seconds": 0.008}') as url,
        family_of(gateways) as gateway,
        family_of(0) as redis,
    ):
        ready = [
            Watched(Process(name, (), {"MESH_THREADS": "1"}, url, rank=1), 0.0, "ready", pid)
            for name, pid in (
                ("gateway", gateway),
                ("audio-encoder", encoder.pid),
                ("redis", redis),
            )
        ]
        asyncio.run(Homes(CORES[:2]).settle(ready))

        elsewhere = set(CORES[1]) if moved else set(psutil.Process().cpu_affinity() or ())
        assert places(encoder.pid) == [set(CORES[0])] * 4
        assert len(family(gateway)) == 1 + gateways
        for pid in (redis, *family(gateway)):
            assert places(pid) == [elsewhere]


def test_what_a_process_has_computed_is_known() -> None:
    """And nothing is known of one that has ended."""
    began = spent(os.getpid())
    while spent(os.getpid()) - began < 0.05:
        pass
    with running() as process:
        pass
    assert spent(process.pid) == 0
