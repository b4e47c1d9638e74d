"""What every request and answer has, whatever its route: id, arrival, body, log line, count.

Works by Flask's hooks, so that the routes know nothing of it. In `flask.g` they find `request_id`,
`arrived` (on the clock of time.monotonic()) and `body`.
"""

import re
import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

import structlog
from flask import Flask, Response, g, request

from gateway.body import Bodies
from gateway.metrics import GatewayMetrics

REQUEST_ID: Final = "X-Request-Id"
VISIBLE: Final = re.compile(r"[!-~]{1,128}")

log = structlog.stdlib.get_logger("gateway")


def follow_exchanges(
    app: Flask, bodies: Bodies, metrics: GatewayMetrics, draining: Callable[[], bool]
) -> None:
    """Do this for every request of the application; `draining` says that the process will end."""

    # Looked up once: each costs a few microseconds, which a cached answer would feel.
    access = log.bind()
    total = metrics.stage_seconds.labels("total")

    def begin() -> None:
        g.arrived = time.monotonic()
        g.request_id = _request_id(request.headers.get(REQUEST_ID, ""))
        g.body = bodies.open(request.environ)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    def end(response: Response) -> Response:
        response.headers[REQUEST_ID] = g.request_id
        if not g.body.discard() or draining():
            response.headers["Connection"] = "close"
        if g.body.late:
            response = _to_late_body(response)
        seconds = time.monotonic() - g.arrived
        if (request.method, request.path) == ("POST", "/predict"):
            metrics.requests.labels(str(response.status_code)).inc()
            total.observe(seconds)
        access.info(
            "request",
            method=request.method,
            path=request.path[:200],
            status=response.status_code,
            seconds=round(seconds, 6),
        )
        return response

    app.before_request(begin)
    app.after_request(end)


def _request_id(proposed: str) -> str:
    """The caller's own id where it is 1 to 128 visible ASCII characters, else a new one."""
    return proposed if VISIBLE.fullmatch(proposed) else uuid4().hex


def _to_late_body(response: Response) -> Response:
    answer = response.get_data()
    response.response = g.body.end_by(answer)
    response.content_length = len(answer) + 1
    return response
