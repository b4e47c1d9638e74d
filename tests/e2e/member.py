"""One process of a mesh under test: started, stopped, killed, held, started again in its place."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import redis
from prometheus_client.parser import text_string_to_metric_families

from cli.topology import Process
from tests.e2e.inputs import ROOT
from tests.waiting import within

# Seconds. A node imports torch and loads a model; several may do so at once on few cores.
START_WAIT: Final = 90.0
STOP_WAIT: Final = 40.0
PROBE_TIMEOUT: Final = 2.0
PR_SET_PDEATHSIG: Final = 1

# Local processes only: no proxy of the environment, and one set of certificates never read.
# No connection is used twice: among many threads, httpcore may close one that it just gave away.
NEW_EACH = httpx.Limits(max_connections=None, max_keepalive_connections=0)
http = httpx.Client(trust_env=False, verify=False, timeout=70.0, limits=NEW_EACH)


class Member:
    """One process; ports and log stay the same over restarts. Start it on the main thread."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self.log = log
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers HTTP: the gateway's own port, or a node's ops port."""
        return self.process.ready_url.removesuffix("/readyz")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._require().pid

    @property
    def alive(self) -> bool:
        """Whether it runs, or is held."""
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Start it, unless it runs; it may not be ready for a while."""
        if self.alive:
            return
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
        with self.log.open("ab") as output:
            self._running = subprocess.Popen(
                self.process.argv,
                cwd=ROOT,
                env=inherited | dict(self.process.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )

    def configure(self, **settings: str) -> None:
        """Change its settings, from its next start on."""
        self.process = replace(self.process, env={**self.process.env, **settings})

    def is_ready(self) -> bool:
        """Whether it says so now."""
        if not self.alive:
            return False
        url = self.process.ready_url
        with contextlib.suppress(httpx.HTTPError, redis.RedisError):
            return _answers_ping(url) if url.startswith("redis") else _answers_ok(url)
        return False

    def wait_ready(self, seconds: float = START_WAIT) -> None:
        """Return once it is ready; AssertionError with its last words where it isn't in time."""
        within(seconds, lambda: self.is_ready() or self._ended_early(), self._last_words)

    def signal(self, number: signal.Signals) -> None:
        """Send it any signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a word."""
        self._require().kill()
        self._require().wait()

    def terminate(self) -> None:
        """Tell it to stop, and don't wait."""
        self.signal(signal.SIGTERM)

    def wait_ended(self, seconds: float = STOP_WAIT) -> int:
        """Its exit code, once it has ended by itself."""
        return self._require().wait(seconds)

    def stop(self) -> int:
        """Tell it to stop, and wait until it has: its exit code."""
        self.terminate()
        return self.wait_ended()

    def pause(self) -> None:
        """Hold it: alive, its ports open, and no answer."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def rss(self) -> int:
        """Resident memory in bytes, of the process and its children."""
        process = psutil.Process(self.pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family)

    def metrics(self) -> "Metrics":
        """What it counts now."""
        return Metrics(http.get(f"{self.url}/metrics").raise_for_status().text)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its log, a JSON object a line; the last one may just be written."""
        *whole, _ = self.log.read_text().split("\n")
        return map(json.loads, whole)

    def _require(self) -> subprocess.Popen[bytes]:
        assert self._running is not None, f"{self.process.name} was never started"
        return self._running

    def _ended_early(self) -> bool:
        assert self.alive, self._last_words()
        return False

    def _last_words(self) -> str:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
        return f"{self.process.name} did not become ready:\n{tail}"


class Metrics:
    """One reading of a process's /metrics."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that bear these labels; 0 where there is none."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def end_all(members: Iterable[Member]) -> None:
    """End them all, whatever state they are in, and together: the longest drain is the wait."""
    running = [member for member in members if member.alive]
    for member in running:
        with contextlib.suppress(ProcessLookupError):
            member.resume()
            member.terminate()
    for member in running:
        try:
            member.wait_ended()
        except subprocess.TimeoutExpired:
            member.kill()


def _answers_ok(url: str) -> bool:
    return http.get(url, timeout=PROBE_TIMEOUT).status_code == httpx.codes.OK


def _answers_ping(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=PROBE_TIMEOUT) as client:
        return bool(client.ping())


def _end_with_parent() -> None:
    # Tests that are killed leave no mesh behind either.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
