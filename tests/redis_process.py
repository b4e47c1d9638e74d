"""A real Redis (or Valkey) server for tests: started, killed, stopped and started again."""

import contextlib
import os
import signal
import socket
import subprocess
import time

from cli.machine import free_ports, redis_binary
from cli.topology import LOCALHOST, redis_server


class RedisProcess:
    """One server on one free port that it keeps over restarts."""

    def __init__(self) -> None:
        [self.port] = free_ports(1)
        self.url = f"redis://{LOCALHOST}:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 10.0) -> None:
        """Start it and wait until it accepts connections."""
        argv = redis_server(redis_binary(), self.port).argv
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((LOCALHOST, self.port), 1):
                return
            time.sleep(0.02)  # Another process: there is nothing to wait on but its port.
        raise TimeoutError(f"no Redis on port {self.port} after {seconds} s")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes it hang, SIGCONT go on."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
