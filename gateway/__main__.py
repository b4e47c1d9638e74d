"""`python -m gateway`: settings -> wiring -> run."""

import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import structlog
from flask import Flask

from gateway.accounts import Accounts
from gateway.app import Classifier, Parts, create_app
from gateway.body import Bodies
from gateway.listener import listen
from gateway.loop import BackgroundLoop
from gateway.metrics import GatewayMetrics
from gateway.readers import Readers
from gateway.server import Server
from gateway.sharing import Share, Shared
from gateway.wiring import open_mesh
from mesh.runtime import SHORT_SLICE, settle, share_cores
from mesh.settings import GatewaySettings, load
from mesh.telemetry import configure_logging

# Seconds. Nothing needs to answer when the mesh is opened, and closing asks nobody.
OPEN_TIMEOUT: Final = 30.0
# Seconds. Each request has a line and is counted, and under load they would hold up each other.
LOG_PAUSE: Final = 0.05


class OpenClassifier(Classifier, Protocol):
    """What `open_mesh` gives, in its own loop."""

    async def close(self) -> None:
        """Give everything back."""


Opener = Callable[[GatewaySettings, GatewayMetrics], Coroutine[Any, Any, OpenClassifier]]


@contextmanager
def wired(opener: Opener, settings: GatewaySettings, share: Share) -> Iterator[Flask]:
    """The application and what it stands on, in the process that serves it."""
    configure_logging("gateway", settings.log_level, LOG_PAUSE)
    metrics = GatewayMetrics.of(share)
    with BackgroundLoop() as loop, Readers() as readers:
        mesh = loop.run(opener(settings, metrics), OPEN_TIMEOUT)
        bodies = Bodies(readers, settings.max_body)
        accounts = Accounts(metrics, LOG_PAUSE)
        try:
            yield create_app(Parts(settings, mesh, loop, bodies, metrics, accounts, share))
        finally:
            try:
                loop.run(mesh.close(), OPEN_TIMEOUT)
            finally:
                accounts.settle()  # Those, too, that waited for the mesh.


def main(opener: Opener = open_mesh) -> None:
    """Serve until a signal comes; exit 1 where the port is taken or the worker dies."""
    settings = load(GatewaySettings)
    configure_logging("gateway", settings.log_level)
    if settings.max_in_flight_bytes < settings.max_body:
        sys.exit("MESH_MAX_IN_FLIGHT_BYTES is below MESH_MAX_BODY: no large body could be taken")
    share_cores(SHORT_SLICE)
    try:
        listening = listen(settings.host, settings.http_port)
    except OSError as error:
        structlog.stdlib.get_logger("gateway").error("cannot_listen", reason=str(error))
        sys.exit(1)
    settle()  # What workers inherit stays shared as long as none of them writes to it.
    with _shared(settings.gateway_processes) as shared:
        Server(settings, listening, shared, partial(wired, opener)).run()


@contextmanager
def _shared(processes: int) -> Iterator[Shared]:
    if processes == 1:
        yield Shared()
    else:
        with TemporaryDirectory(prefix="sensemesh-metrics-") as folder:
            yield Shared(processes, Path(folder))


if __name__ == "__main__":
    main()
