"""The life of a node: one process, one event loop, a gRPC port and an ops port.

    ops port answers -> load, warm up, check the golden examples (on a thread) -> gRPC serves
    -> SIGTERM -> NOT_SERVING and not ready, but still serving -> drain -> end

A node that can't be made ready logs why and ends with exit code 1; one that was told to stop ends
with 0. It ends also while a thread is stuck in a decoder or in the model.
"""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any, NoReturn, Protocol

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from mesh.allocator import share_arenas
from mesh.errors import MeshError
from mesh.listening import GrpcServer, GrpcService, listen
from mesh.ops import create_app
from mesh.runtime import LONG_SLICE, settle, share_cores, yield_cores
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics, configure_logging

log = structlog.stdlib.get_logger(__name__)

# Probes are short; one that isn't must not hold up the end of the process.
OPS_GRACE = 2


class Service(GrpcService, Protocol):
    """What a node serves, loaded and checked."""

    @property
    def item_seconds(self) -> float | None:
        """What a usual item takes of a core, where other nodes want it for the same request."""

    def start(self) -> None:
        """Begin to work, on the running loop."""

    async def close(self, grace: float) -> None:
        """Finish what was taken in, for up to `grace` seconds."""

    def info(self) -> Mapping[str, Any]:
        """What it is, for people."""


# Builds a service, checked against its golden examples. Runs on a thread and may take its time.
Load = Callable[[NodeSettings, NodeMetrics], Service]


def serve(
    name: str, settings: NodeSettings, load: Load, slice_seconds: float = LONG_SLICE
) -> NoReturn:
    """Run a node until SIGTERM or SIGINT, then end the process: with 1 where the node failed."""
    configure_logging(name, settings.log_level)
    share_arenas()
    share_cores(slice_seconds)
    node = Node(settings, partial(_load_and_settle, load))
    uvloop.run(node.run())
    end(1 if node.state == "failed" else 0)


def _load_and_settle(load: Load, settings: NodeSettings, metrics: NodeMetrics) -> Service:
    service = load(settings, metrics)
    yield_cores(service.item_seconds)
    settle()
    return service


def end(code: int) -> NoReturn:
    """End at once: Python itself would wait for every thread, and a stuck one may take hours."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Node:
    """One node. `run` it once."""

    def __init__(self, settings: NodeSettings, load: Load) -> None:
        self.state = "loading"
        self.ready = asyncio.Event()
        self.info: dict[str, Any] = settings.model_dump(include={"engine", "dtype", "devices"})
        self.metrics = NodeMetrics(CollectorRegistry())
        self._settings = settings
        self._load = load
        self._told_to_stop = asyncio.Event()

    async def run(self) -> None:
        """Live until `stop`; the state is then "stopped", or "failed"."""
        try:
            with listen(self._settings.host, self._settings.ops_port) as listener:
                self.info["ops_port"] = listener.getsockname()[1]
                await self._serve_ops(listener)
        except Exception as error:
            self._fail(error)

    def stop(self) -> None:
        """Drain, then end. To be called on the node's loop."""
        self._told_to_stop.set()

    async def _serve_ops(self, listener: socket.socket) -> None:
        app = create_app(self, self.metrics.registry, self._lifespan)
        config = uvicorn.Config(
            app, log_config=None, log_level="warning", timeout_graceful_shutdown=OPS_GRACE
        )
        self._ops = _OpsServer(config, asyncio.get_running_loop(), self.stop)
        await self._ops.serve(sockets=[listener])

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        life = asyncio.create_task(self._live())
        yield
        self.stop()
        await life

    async def _live(self) -> None:
        try:
            service = await asyncio.to_thread(self._load, self._settings, self.metrics)
            if not self._told_to_stop.is_set():
                await self._serve(service)
            self._change("stopped")
        except Exception as error:
            self._fail(error)
        finally:
            self._ops.should_exit = True

    async def _serve(self, service: Service) -> None:
        service.start()
        grace = self._settings.drain
        try:
            server = GrpcServer(self._settings, service)
            self.info.update(service.info(), grpc_port=await server.start())
            self._change("ready")
            self.ready.set()
            await self._told_to_stop.wait()
            grace = await self._drain(server)
        finally:
            await service.close(grace)

    async def _drain(self, server: GrpcServer) -> float:
        """Send clients away while serving on, and only then refuse: so no call is lost.

        What is left of MESH_DRAIN's seconds.
        """
        self._change("draining")
        await server.leave()
        await asyncio.sleep(self._settings.drain_delay)
        deadline = time.monotonic() + self._settings.drain
        await server.stop(self._settings.drain)
        return max(0.0, deadline - time.monotonic())

    def _change(self, state: str) -> None:
        self.state = state
        log.info(state, grpc_port=self.info.get("grpc_port"), ops_port=self.info["ops_port"])

    def _fail(self, error: Exception) -> None:
        self.state = "failed"
        log.error("failed", reason=str(error), exc_info=not isinstance(error, MeshError))


class _OpsServer(uvicorn.Server):
    """uvicorn, but a signal drains the node first, and isn't raised again in the end.

    It stops answering the moment it is told to exit; draining, a node must still tell that it is
    not ready.
    """

    def __init__(
        self, config: uvicorn.Config, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._loop = loop
        self._stop = stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by a signal, between any two instructions of the main thread."""
        self._loop.call_soon_threadsafe(self._stop)
