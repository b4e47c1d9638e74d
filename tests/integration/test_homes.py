"""Processes on their home cores: real ones, and an ops port that says what an encoder costs."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import psutil
import pytest

from cli import homes as homes_module
from cli.homes import Homes, family, move, spent
from cli.machine import physical_cores
from cli.topology import Process
from cli.watch import Watched
from mesh.batching import Batcher
from mesh.grouping import BatchLimits
from tests.unit.mesh.workbench import Doubler, Notes

CORES = physical_cores()

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores that a process can have")

# Three threads beside the first, then one more for each line of input.
PROGRAM = """
import threading, time
def thread(): threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
for _ in range(3): thread()
print("ready", flush=True)
while input(): thread(); print("one more", flush=True)
"""


@contextmanager
def running() -> Iterator[subprocess.Popen[str]]:
    """A process of four threads."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def places(pid: int) -> list[set[int]]:
    """Where each of its threads may run."""
    return [os.sched_getaffinity(int(task)) for task in os.listdir(f"/proc/{pid}/task")]


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


class Info(BaseHTTPRequestHandler):
    """Answers what the server's `said` holds."""

    def do_GET(self) -> None:
        """To whatever path."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.said)  # type: ignore[attr-defined]

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@contextmanager
def ops_port(said: bytes) -> Iterator[str]:
    """The address of one that says so."""
    with HTTPServer(("127.0.0.1", 0), Info) as server:
        server.said = said  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/readyz"
        server.shutdown()


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


# So many children beside the first process.
FAMILY = "for _ in $(seq {}); do sleep 99 & done; echo ready; wait"


@contextmanager
def family_of(children: int) -> Iterator[int]:
    """A process with so many others that it started."""
    with subprocess.Popen(
        ["sh", "-c", FAMILY.format(children)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        os.killpg(process.pid, signal.SIGKILL)


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


def test_the_front_goes_where_encoders_do_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what they did since the last look, if it is clearly less there; and not at each look."""
    computed = {0: 0.0, 1: 0.0}
    with (
        running() as sound,
        running() as text,
        ops_port(b'{"core_seconds": 0.008}') as dear,
        ops_port(b'{"core_seconds": 0.002}') as cheap,
        family_of(0) as redis,
    ):
        numbers = {sound.pid: 0, text.pid: 1}
        monkeypatch.setattr(homes_module, "spent", lambda pid: computed[numbers[pid]])
        homes = Homes(CORES[:2])
        asyncio.run(
            homes.settle(
                Watched(Process(name, (), {"MESH_THREADS": "1"}, url, rank=1), 0.0, "ready", pid)
                for name, url, pid in (
                    ("audio-encoder", dear, sound.pid),
                    ("text-encoder", cheap, text.pid),
                    ("redis", dear, redis),
                )
            )
        )
        homes.follow(100.0)
        seen = [places(redis)]
        for now, sounds, texts in (
            (100.5, 0.0, 0.5),  # Too early to look again.
            (101.0, 0.0, 1.0),  # Texts alone: away from them.
            (102.0, 0.3, 0.15),  # Hardly a difference.
            (103.0, 0.9, 0.6),  # Sounds take more now.
        ):
            computed[0] += sounds
            computed[1] += texts
            homes.follow(now)
            seen.append(places(redis))
        assert seen == [[set(CORES[number])] for number in (1, 1, 0, 0, 1)]


def test_what_a_process_has_computed_is_known() -> None:
    """And nothing is known of one that has ended."""
    began = spent(os.getpid())
    while spent(os.getpid()) - began < 0.05:
        pass
    with running() as process:
        pass
    assert spent(process.pid) == 0
