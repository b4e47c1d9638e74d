"""What every request and answer has, whatever its route: id, arrival, body, and an account of it.

Works round Flask. A route finds its request's exchange by `current()` or `exchange_of()`, and notes
there what only the route knows.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import getrandbits
from typing import TYPE_CHECKING, Any, Final

import structlog
from flask import request

from gateway.accounts import Accounts
from gateway.body import Bodies, Body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Environ = dict[str, Any]
Wsgi = Callable[[Environ, "StartResponse"], Iterable[bytes]]

REQUEST_ID: Final = "X-Request-Id"
REQUEST_ID_VARIABLE: Final = "HTTP_X_REQUEST_ID"
VISIBLE: Final = re.compile(r"[!-~]{1,128}")
# Where a request's environment has its exchange.
_EXCHANGE: Final = "mesh.exchange"


@dataclass(slots=True)
class Exchange:
    """One request on its way to its answer; `arrived` is on the clock of time.monotonic().

    `recalled` is how many seconds it took to recall the answer, where that was possible.
    """

    method: str
    path: str
    request_id: str
    arrived: float
    body: Body
    recalled: float | None = None

    @property
    def is_question(self) -> bool:
        """Whether it asks for a class."""
        return self.method == "POST" and self.path == "/predict"


def exchange_of(environ: Environ) -> Exchange:
    """The exchange of one WSGI request."""
    found: Exchange = environ[_EXCHANGE]
    return found


def current() -> Exchange:
    """That of the request which Flask answers on this thread. Each call costs a look-up."""
    return exchange_of(request.environ)


class Exchanges:
    """A WSGI application round another one, each of whose answers becomes an exchange's."""

    def __init__(
        self, answer: Wsgi, bodies: Bodies, accounts: Accounts, draining: Callable[[], bool]
    ) -> None:
        """`draining` says that the process will end."""
        self._answer = answer
        self._bodies = bodies
        self._accounts = accounts
        self._draining = draining

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request."""
        arrived = time.monotonic()
        request_id = _request_id(environ.get(REQUEST_ID_VARIABLE, ""))
        exchange = environ[_EXCHANGE] = Exchange(
            environ["REQUEST_METHOD"],
            _path(environ["PATH_INFO"]),
            request_id,
            arrived,
            self._bodies.open(environ),
        )
        # Nothing else is ever bound on this thread.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        head = _Head()
        pieces = self._answer(environ, head.take)
        head.headers.append((REQUEST_ID, request_id))
        if not exchange.body.discard() or self._draining():
            head.headers.append(("Connection", "close"))
        if exchange.body.late:
            whole = b"".join(pieces)
            head.set_length(len(whole) + 1)
            pieces = exchange.body.end_by(whole)
        self._accounts.take(exchange, int(head.status[:3]))
        start_response(head.status, head.headers)
        return pieces


class _Head:
    """Status and headers of an answer that has not begun."""

    status: str
    headers: list[tuple[str, str]]

    def take(self, status: str, headers: list[tuple[str, str]], _: object = None) -> Any:
        """What the application calls as `start_response`."""
        self.status, self.headers = status, headers

    def set_length(self, size: int) -> None:
        """Say that the answer has so many bytes."""
        others = [(name, value) for name, value in self.headers if name != "Content-Length"]
        self.headers = [*others, ("Content-Length", str(size))]


def _path(sent: str) -> str:
    """The path as Flask takes it: with one slash before it, and in UTF-8 if it is that."""
    return "/" + sent.lstrip("/").encode("latin-1").decode(errors="replace")


def _request_id(proposed: str) -> str:
    """The caller's own id where it is 1 to 128 visible ASCII characters, else a new one.

    That is no secret: unlike `secrets`, this asks no system, and lets no other thread in between.
    """
    kept = proposed and VISIBLE.fullmatch(proposed)
    return proposed if kept else f"{getrandbits(128):032x}"
