"""A gateway over real HTTP that gives one answer, whatever it is asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER: dict[str, Any] = {
    "prediction": "joy",
    "index": 1,
    "probability": 0.97,
    "probabilities": {"anger": 0.03, "joy": 0.97},
    "modalities": {name: {"status": "computed"} for name in ("text", "image", "audio")},
    "degraded": False,
    "model": {"name": "emotion6", "version": "sha256:00"},
    "timing_ms": {"total": 12.3},
    "request_id": "r-1",
}


class Gateway(ThreadingHTTPServer):
    """Gives `status` and `body` to every POST, and keeps what it was asked last."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body = 200, json.dumps(ANSWER)
        self.path, self.deadline, self.asked = "", None, b""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Notes the request, and gives the one answer."""

    server: Gateway

    def do_POST(self) -> None:
        self.server.path = self.path
        self.server.deadline = self.headers["X-Request-Timeout"]
        self.server.asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Gateway]:
    """A gateway that answers with joy."""
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
