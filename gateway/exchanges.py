"""What every request and answer has, whatever its route: id, arrival, body, log line, count.

Works by Flask's hooks, so that the routes know nothing of it but `current()`.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import getrandbits
from typing import Final

import structlog
from flask import Flask, Response, g, request

from gateway.body import Bodies, Body
from gateway.metrics import GatewayMetrics

REQUEST_ID: Final = "X-Request-Id"
REQUEST_ID_VARIABLE: Final = "HTTP_X_REQUEST_ID"
VISIBLE: Final = re.compile(r"[!-~]{1,128}")

log = structlog.stdlib.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its way to its answer; `arrived` is on the clock of time.monotonic()."""

    request_id: str
    arrived: float
    body: Body


def current() -> Exchange:
    """The exchange of the request that this thread answers. Each call costs a look-up."""
    found: Exchange = g.exchange
    return found


def follow_exchanges(
    app: Flask, bodies: Bodies, metrics: GatewayMetrics, draining: Callable[[], bool]
) -> None:
    """Do this for every request of the application; `draining` says that the process will end."""

    # Looked up once: each costs a few microseconds, which a cached answer would feel.
    access = log.bind()
    total = metrics.stages["total"]

    def begin() -> None:
        arrived, environ = time.monotonic(), request.environ
        request_id = _request_id(environ.get(REQUEST_ID_VARIABLE, ""))
        g.exchange = Exchange(request_id, arrived, bodies.open(environ))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

    def end(response: Response) -> Response:
        exchange, asked = current(), request._get_current_object()  # type: ignore[attr-defined]
        response.headers[REQUEST_ID] = exchange.request_id
        if not exchange.body.discard() or draining():
            response.headers["Connection"] = "close"
        if exchange.body.late:
            response = _to_late_body(response, exchange.body)
        seconds = time.monotonic() - exchange.arrived
        if (asked.method, asked.path) == ("POST", "/predict"):
            metrics.answered(response.status_code)
            total.observe(seconds)
        access.info(
            "request",
            method=asked.method,
            path=asked.path[:200],
            status=response.status_code,
            seconds=round(seconds, 6),
        )
        return response

    app.before_request(begin)
    app.after_request(end)


def _request_id(proposed: str) -> str:
    """The caller's own id where it is 1 to 128 visible ASCII characters, else a new one.

    That is no secret: unlike `secrets`, this asks no system, and lets no other thread in between.
    """
    return proposed if VISIBLE.fullmatch(proposed) else f"{getrandbits(128):032x}"


def _to_late_body(response: Response, body: Body) -> Response:
    answer = response.get_data()
    response.response = body.end_by(answer)
    response.content_length = len(answer) + 1
    return response
