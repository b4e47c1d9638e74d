"""Servers that are measured side by side: the mesh and its peers, started alike and asked alike."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from benchmarks.bodies import MULTIPART, Bodies, Form
from benchmarks.inputs import ROOT
from benchmarks.mesh_process import mesh
from benchmarks.peers import PEERS, TUNED, Peer, install
from benchmarks.processes import BenchError, Command, family, memory, running, wait_until
from cli.machine import free_ports

FUSION: Final = ROOT / "models/emotion6/fusion/config.json"
MESH: Final = "mesh"
# Seconds: on a busy machine models load slowly. The second counts from when the server listens.
START: Final = 180.0
LOADED: Final = 60.0
PROBE: Final = 30.0
# Of a server that has just answered all that it was sent.
ANSWERS: Final = 5.0
# Requests whose class is compared with the mesh's.
COMPARED: Final = 8


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that answers at `url`; `memory` tells its MiB now.

    `restless` are the processes of it that take a core while there is nothing to do; `processes`
    those that do different work, by name, where it has such.
    """

    url: str
    memory: Callable[[], float]
    restless: Callable[[], list[int]] = list
    processes: Callable[[], Mapping[str, list[int]]] = dict

    def asleep(self) -> AbstractContextManager[None]:
        """Let it take no core from others while the block lasts, but where it is `awake`."""
        return self._between(signal.SIGSTOP, signal.SIGCONT)

    def awake(self) -> AbstractContextManager[None]:
        """Let it serve while the block lasts, within one in which it is `asleep`."""
        return self._between(signal.SIGCONT, signal.SIGSTOP)

    @contextlib.contextmanager
    def _between(self, first: signal.Signals, last: signal.Signals) -> Iterator[None]:
        try:
            self._signal(first)
            yield
        finally:
            self._signal(last)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.restless():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that can be started, and the form of its bodies."""

    name: str
    form: Form
    start: Callable[[], AbstractContextManager[Serving]]


def the_mesh(folder: Path, tell: Callable[[dict[str, str]], None]) -> Contender:
    """Ours, by `sensemesh up`; `tell` hears what its encoders compute by."""

    @contextlib.contextmanager
    def start() -> Iterator[Serving]:
        with mesh(folder / "logs/mesh") as found, found.whole_answers():
            tell(found.engines())
            yield Serving(found.predict, lambda: found.memory()["all"], processes=found.processes)

    return Contender(MESH, MULTIPART, start)


def documented(folder: Path) -> list[Contender]:
    """Every peer as its documentation would have it."""
    return [_contender(peer, folder, {}) for peer in PEERS]


def tuned(
    folder: Path, engine: str, dtype: str, batch: int, parts: Mapping[str, float]
) -> list[Contender]:
    """The tuned peers, on the engine and with the batch, and parts of it, that are best."""
    env = {
        "BENCH_ENGINE": engine,
        "BENCH_DTYPE": dtype,
        "BENCH_BATCH": str(batch),
        "BENCH_PARTS": json.dumps(parts),
    }
    return [_contender(peer, folder, env) for peer in TUNED]


def _contender(peer: Peer, folder: Path, env: dict[str, str]) -> Contender:
    @contextlib.contextmanager
    def start() -> Iterator[Serving]:
        bin = install(peer, folder / "environments")
        (port,) = free_ports(1)
        log = folder / f"logs/{peer.name.replace(' ', '-')}.log"
        path = {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
        cwd = Path(__file__).parent / "peers" / peer.folder
        with running(Command(peer.argv(bin, port), log, env | path, cwd)) as process:
            url = f"http://127.0.0.1:{port}"
            wait_until(process, log, START, lambda: answers(url))
            mine = partial(family, [process.pid])
            restless = mine if peer.restless else list
            yield Serving(url + peer.path, lambda: memory(mine()), restless)

    return Contender(peer.name, peer.form, start)


def answers(url: str) -> bool:
    """Whether a server speaks HTTP there, and does not say that it isn't ready."""
    with contextlib.suppress(httpx.HTTPError):
        return not httpx.get(url, trust_env=False, timeout=PROBE).is_server_error
    return False


def classes(url: str, bodies: Bodies) -> list[str]:
    """The classes that a server gives the first bodies, in whatever form it answers.

    A server that listens may still load its model: it is asked again until it is ready.
    """
    labels = json.loads(FUSION.read_text())["labels"]
    return [_class(url, bodies, body, labels) for body in range(COMPARED)]


def require_same(found: list[str], expected: list[str]) -> None:
    """BenchError where classes differ by more than rounding does at the border of two classes."""
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    if same < COMPARED - 1:
        raise BenchError(f"it answers {found}, the mesh {expected}")


def require_answer(url: str, bodies: Bodies) -> None:
    """BenchError where a server does not answer at once."""
    try:
        _post(url, bodies, 0, ANSWERS).raise_for_status()
    except httpx.HTTPError as error:
        raise BenchError(f"{url} answers no more: {error!r}") from error


def _class(url: str, bodies: Bodies, body: int, labels: list[str]) -> str:
    deadline, answer = time.monotonic() + LOADED, b""
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            got = _post(url, bodies, body, PROBE)
            answer = got.content
            if got.is_success:
                return named(answer, labels)
        time.sleep(0.2)
    raise BenchError(f"{url} does not answer: {answer[:500].decode(errors='replace')}")


def _post(url: str, bodies: Bodies, body: int, timeout: float) -> httpx.Response:
    content, headers = bodies.stamped(0, body), {"Content-Type": bodies.content_type}
    return httpx.post(url, content=content, headers=headers, trust_env=False, timeout=timeout)


def named(answer: bytes, labels: list[str]) -> str:
    """The label that an answer names first."""
    places = {label: answer.find(f"{label}".encode()) for label in labels}
    named = {label: place for label, place in places.items() if place >= 0}
    if not named:
        raise BenchError(f"an answer names no class: {answer[:500].decode(errors='replace')}")
    return min(named, key=named.__getitem__)
