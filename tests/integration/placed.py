"""Real processes to be moved from core to core, and ops ports that say what an encoder costs."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from cli.machine import physical_cores

CORES = physical_cores()

# Three threads beside the first, then one more for each line of input.
PROGRAM = """
import threading, time
def thread(): threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
for _ in range(3): thread()
print("ready", flush=True)
while input(): thread(); print("one more", flush=True)
"""


# So many children beside the first process.
FAMILY = "for _ in $(seq {}); do sleep 99 & done; echo ready; wait"


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
