"""The mesh as `sensemesh up` runs it, for a measurement to be taken of it."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.inputs import ROOT
from benchmarks.processes import BenchError, Command, family, memory, running, wait_until

SERVES: Final = re.compile(r"The mesh serves (http://\S+) until")
SPAWNED: Final = re.compile(r"spawned: '(\S+)' with pid (\d+)")
# The event by which a node tells its engine.
CHOSEN: Final = '"engine_chosen"'
# Seconds, also on a busy machine where models are compiled.
START: Final = 300.0


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that serves; `seconds` is how long it took from the command to its first answer."""

    url: str
    logs: Path
    pid: int
    seconds: float

    @property
    def predict(self) -> str:
        """Where requests go."""
        return f"{self.url}/predict"

    def pids(self) -> dict[str, list[int]]:
        """The processes by name, each with its own children, as supervisor's log has them."""
        spawned = SPAWNED.findall((self.logs / "supervisor.log").read_text())
        return {name: family([int(pid)]) for name, pid in spawned}

    def processes(self) -> dict[str, list[int]]:
        """Ids by name, too, of what starts and watches these, as "sensemesh up"."""
        pids = self.pids()
        others = set(family([self.pid])).difference(*pids.values())
        return pids | {"sensemesh up": sorted(others)}

    def memory(self) -> dict[str, float]:
        """MiB by process, and of all together."""
        found = {name: memory(of_it) for name, of_it in self.processes().items()}
        return found | {"all": sum(found.values())}

    def engines(self) -> dict[str, str]:
        """What each encoder chose to compute by, where it had a choice, as its log has it."""
        found = {}
        for log in sorted(self.logs.glob("*-encoder.log")):
            chosen = [json.loads(line) for line in log.read_text().splitlines() if CHOSEN in line]
            if chosen:
                found[log.stem] = f"{chosen[-1]['engine']} {chosen[-1]['dtype']}"
        return found

    def degraded(self) -> float:
        """How many modalities the gateway has answered without, by its metrics."""
        text = httpx.get(f"{self.url}/metrics", trust_env=False, timeout=30).text
        families = text_string_to_metric_families(text)
        samples = (sample for one in families for sample in one.samples)
        return sum(s.value for s in samples if s.name == "mesh_degraded_total")

    @contextlib.contextmanager
    def whole_answers(self) -> Iterator[None]:
        """BenchError where an answer of the block was degraded: it would be less work."""
        before = self.degraded()
        yield
        if (missing := self.degraded() - before) > 0:
            raise BenchError(f"{missing:.0f} inputs were answered without during a measurement")


@contextlib.contextmanager
def mesh(
    logs: Path, settings: Mapping[str, str] | None = None, root: Path = ROOT
) -> Iterator[Mesh]:
    """Run the mesh of a checkout while the block lasts; `settings` are MESH_* beyond its own."""
    logs.mkdir(parents=True, exist_ok=True)
    for old in logs.glob("*.log"):
        old.unlink()
    argv = [sys.executable, "-m", "cli", "up", "--port", "0", "--logs", str(logs)]
    env = {"PYTHONPATH": str(root), **(settings or {})}
    command = Command(argv, logs / "up.log", env, root)
    start = time.monotonic()
    with running(command) as process:
        wait_until(process, command.log, START, lambda: bool(_url(command.log)))
        seconds = time.monotonic() - start
        found = Mesh(_url(command.log), logs, process.pid, seconds)
        yield found


def _url(log: Path) -> str:
    found = SERVES.search(log.read_text(errors="replace"))
    return found[1] if found else ""
