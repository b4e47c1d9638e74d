"""Granian's WSGI server as the gateway needs it: worker processes that drain before they end.

All serve one socket. A worker that dies ends the gateway where it is the only one, and is replaced
where there are several; where that dies within seconds, too, the gateway ends.

The main process holds the port and takes the signals. SIGTERM, SIGINT or SIGHUP: for
MESH_DRAIN_DELAY seconds everything is still answered, but /readyz says 503 and every answer closes
its connection; then newcomers are refused; then Granian stops, when the last request is answered.
A second signal ends the workers at once.
"""

import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from multiprocessing import connection, parent_process
from typing import Any, Final

import structlog
from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]  # It is, but not by __all__.
from granian.server.mp import MPServer

from gateway.listener import BACKLOG, refuse_newcomers
from gateway.sharing import Share, Shared
from mesh.allocator import give_memory_back, share_arenas
from mesh.runtime import settle
from mesh.settings import GatewaySettings
from mesh.telemetry import flush_log

# Beyond the requests that are admitted: refusals, health and metrics always find a thread.
SPARE_THREADS: Final = 16
# Connections that are open at once, idle ones among them, where the limit of open files allows it.
CONNECTIONS: Final = 1024
# Seconds in which a connection that was just accepted sends its request.
LINGER: Final = 0.5
# Seconds beyond the longest request before a worker that does not end is killed.
KILL_AFTER: Final = 10

# Makes the application in a worker, and on leaving closes what it stands on.
Wiring = Callable[[GatewaySettings, Share], AbstractContextManager[Flask]]


log = structlog.stdlib.get_logger("gateway")


def threads(settings: GatewaySettings) -> int:
    """How many requests can be in Python at once."""
    return settings.max_in_flight + SPARE_THREADS


class Server(MPServer):
    """Serves what `wiring` makes on a socket that already listens."""

    def __init__(
        self, settings: GatewaySettings, listening: socket.socket, shared: Shared, wiring: Wiring
    ) -> None:
        host, port = listening.getsockname()[:2]
        super().__init__(
            "gateway",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=settings.gateway_processes,
            respawn_failed_workers=settings.gateway_processes > 1,
            http=HTTPModes.http1,
            websockets=False,
            blocking_threads=threads(settings),
            backlog=BACKLOG,
            backpressure=_connections(settings),
            log_dictconfig={"formatters": {}, "handlers": {}, "loggers": {"_granian": {}}},
            log_level=LogLevels(settings.log_level),
            workers_kill_timeout=int(settings.timeout_max) + KILL_AFTER,
        )
        self._settings = settings
        self._listening = listening
        self._shared = shared
        self._wiring = wiring

    def run(self) -> None:
        """Serve until a signal; SystemExit with 1 where workers end by themselves."""
        logging.getLogger("_granian").addFilter(_without_thread_advice)
        work = partial(_work, self._settings, self._wiring, self._shared)
        self.serve(spawn_target=work)

    def signal_handler_interrupt(self, *_: object) -> None:
        """Drain, then stop; the second time stop at once."""
        if self._shared.draining:
            for worker in self.wrks:
                worker.kill()  # type: ignore[no-untyped-call]
            self._stop()
        else:
            self._shared.drain()
            _later(self._settings.drain_delay, self._refuse_and_stop)

    signal_handler_reload = signal_handler_interrupt

    def _refuse_and_stop(self) -> None:
        refuse_newcomers(self._listening)
        _later(LINGER, self._stop)

    def _stop(self) -> None:
        super().signal_handler_interrupt()  # type: ignore[no-untyped-call]

    def _init_shared_socket(self) -> None:
        """Hand Granian our socket, as it does itself where a socket can't be bound twice."""
        self._ssp: None = None
        self._shd = SocketHolder(self._listening.fileno(), False, BACKLOG)  # type: ignore[call-arg, assignment]
        self._sso = self._listening


def _work(settings: GatewaySettings, wiring: Wiring, shared: Shared, *granian: Any) -> None:
    """The life of a worker process. `granian` is what Granian's own one is called with."""
    worker_id, name, _, *rest = granian
    share = shared.share(worker_id - 1)
    share.tally.clear()
    # A terminal's Ctrl-C is for the main process alone, which tells the workers when to stop.
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share_arenas()
    give_memory_back()
    try:
        with wiring(settings, share) as app:
            settle()
            MPServer._spawn_wsgi_worker(worker_id, name, lambda: app, *rest)
    except Exception:
        # multiprocessing would print it over many lines, which are no JSON.
        log.critical("worker_failed", exc_info=True)
        sys.exit(1)
    finally:
        flush_log()


def _connections(settings: GatewaySettings) -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(2 * threads(settings), min(CONNECTIONS, files // 2))


def _later(seconds: float, do: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    """Stop gracefully when the main process was killed: nobody else would end this one."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _without_thread_advice(record: logging.LogRecord) -> bool:
    """Granian warns of many threads; ours wait for the mesh, and most of them never start."""
    return "Python threads" not in record.getMessage()
