"""A gateway process for tests: started, spoken to down to the byte, signalled and watched."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from cli.machine import free_ports
from gateway.__main__ import LOG_PAUSE

HOST = "127.0.0.1"
START_WAIT = 20.0
STOP_WAIT = 20.0
ANSWER_WAIT = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class GatewayProcess:
    """The real gateway over a fake mesh, on a free port."""

    def __init__(self, log: Path, **settings: object) -> None:
        [self.port] = free_ports(1)
        self.url = f"http://{HOST}:{self.port}"
        self._log = log
        self._environment = os.environ | {
            "MESH_HTTP_PORT": str(self.port),
            **{f"MESH_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self.start()
        until(lambda: self._answers("/readyz"), START_WAIT, "the gateway is ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def start(self) -> None:
        """Start it, without waiting for it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.gateway_process"],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def worker(self) -> psutil.Process:
        """The process that serves."""
        [worker] = psutil.Process(self.pid).children()
        return worker

    def family(self) -> list[psutil.Process]:
        """The processes that are left: main and worker."""
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.pid)
            return [main, *main.children(recursive=True)]
        return []

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP_WAIT) -> int:
        """Its exit code, when it has ended."""
        return self._process.wait(seconds)

    def log_text(self) -> str:
        """All that it wrote."""
        time.sleep(2 * LOG_PAUSE)  # Lines that come quickly are written together.
        return self._log.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """Every line that it logged."""
        return [json.loads(line) for line in self.log_text().splitlines()]

    def connect(self) -> socket.socket:
        connection = socket.create_connection((HOST, self.port), ANSWER_WAIT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def send(self, raw: bytes) -> socket.socket:
        """A new connection on which `raw` was sent."""
        connection = self.connect()
        connection.sendall(raw)
        return connection

    def ask(self, raw: bytes) -> Answer:
        """The answer to one request, given as its bytes."""
        with self.send(raw) as connection:
            return receive(connection)

    def get(self, path: str) -> Answer:
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())

    def say(self, text: str, *headers: str) -> Answer:
        """The answer to a request that sends this text alone."""
        return self.ask(predict_text(text, *headers))

    def metric(self, name: str) -> float:
        """The value of one series, as `/metrics` shows it."""
        for line in self.get("/metrics").body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series == name:
                return float(value)
        return 0.0

    def _answers(self, path: str) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the gateway ended: {self.log_text()}")
        with contextlib.suppress(OSError):
            return self.get(path).status == 200
        return False


def predict_text(text: str, *headers: str) -> bytes:
    """A whole request that sends this text alone."""
    return predict_json(json.dumps({"text": text}).encode(), *headers)


def predict_json(body: bytes, *headers: str) -> bytes:
    """A whole request with this body."""
    return head(f"Content-Length: {len(body)}", *headers) + body


def media(size: int) -> bytes:
    """A JSON body of about `size` bytes with an image."""
    return json.dumps({"image": base64.b64encode(bytes(3 * size // 4)).decode()}).encode()


def head(*headers: str) -> bytes:
    """The head of a request whose body is to be JSON."""
    lines = ["POST /predict HTTP/1.1", "Host: test", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(body: bytes, size: int = 50_000) -> bytes:
    """The body in chunks of `size` bytes, with the end mark."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def receive(connection: socket.socket) -> Answer:
    """The next answer on a connection, or what there is of it. The connection stays open."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    try:
        body = response.read()
    except http.client.IncompleteRead as cut:
        body = cut.partial
    return Answer(response.status, headers, body)


def until(condition: Any, seconds: float, what: str) -> None:
    """Poll another process until the condition holds; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
