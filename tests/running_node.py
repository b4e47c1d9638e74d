"""Nodes for integration tests: in this process over fake models, or as processes of their own."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
from prometheus_client import CollectorRegistry

from mesh.channels import message_options
from mesh.classifying import Classifier
from mesh.encoder_service import EncoderService
from mesh.encoding import Encoder
from mesh.fusion_service import FusionService
from mesh.node import Load, Node, Service
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from mesh.v1 import encoder_pb2 as pb
from mesh.v1 import encoder_pb2_grpc
from tests.fake_models import PATIENCE

ROOT = Path(__file__).parents[1]

# A process may have to import torch on a busy machine.
PROCESS_PATIENCE = 60.0


class WatchedMetrics(NodeMetrics):
    """Metrics of which a test can await the drops and the calls of Classify."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.drops: asyncio.Queue[str] = asyncio.Queue()
        self.classify_calls: asyncio.Queue[None] = asyncio.Queue()

    def dropped(self, reason: str) -> None:
        """Count, and tell the test."""
        super().dropped(reason)
        self.drops.put_nowait(reason)

    def classify_called(self) -> None:
        """Count, and tell the test."""
        super().classify_called()
        self.classify_calls.put_nowait(None)


@dataclass
class RunningNode:
    """A node that is ready, a channel to it and a client of its ops port."""

    node: Node
    task: asyncio.Task[None]
    channel: grpc.aio.Channel
    ops: httpx.AsyncClient
    settings: NodeSettings

    def metric(self, name: str, **labels: str) -> float:
        """One of its metrics; 0 where it was never set."""
        return self.node.metrics.registry.get_sample_value(name, labels) or 0.0

    @property
    def watched(self) -> WatchedMetrics:
        """Its metrics."""
        assert isinstance(self.node.metrics, WatchedMetrics)
        return self.node.metrics

    async def next_drop(self) -> str:
        """Wait until it drops an item; why."""
        return await asyncio.wait_for(self.watched.drops.get(), PATIENCE)

    async def classify_calls(self, count: int) -> None:
        """Wait until so many more calls of Classify have come as far as the queue."""
        for _ in range(count):
            await asyncio.wait_for(self.watched.classify_calls.get(), PATIENCE)
        for _ in range(5):  # On this loop, between a call's arrival and the queue.
            await asyncio.sleep(0)


def settings_of(**changes: Any) -> NodeSettings:
    """Settings for a test: any free ports, one thread, a short end."""
    defaults = {"grpc_port": 0, "ops_port": 0, "threads": 1, "drain_delay": 0.0, "drain": 10.0}
    return NodeSettings(**{**defaults, **changes})


def encoder_load(encoder: Encoder[Any]) -> Load:
    """Loads nothing: serves this encoder."""

    def load(settings: NodeSettings, metrics: NodeMetrics) -> Service:
        return EncoderService([encoder], settings, metrics)

    return load


def fusion_load(*classifiers: Classifier) -> Load:
    """Loads nothing: serves these classifiers."""

    def load(settings: NodeSettings, metrics: NodeMetrics) -> Service:
        return FusionService([[classifier] for classifier in classifiers], settings, metrics)

    return load


def item(text: str, timeout: float = PATIENCE) -> pb.Item:
    """An item with a text."""
    return pb.Item(text=text, timeout=timeout, request_id=f"id of {text[:9]}")


async def encode(node: RunningNode, *items: pb.Item, seconds: float = PATIENCE) -> list[pb.Result]:
    """The results of one call."""
    stub = encoder_pb2_grpc.EncoderStub(node.channel)
    return list((await stub.Encode(pb.EncodeRequest(items=items), timeout=seconds)).results)


def codes(results: list[pb.Result]) -> list[str]:
    """The code of each result, "OK" for an embedding."""
    return [
        pb.Code.Name(result.error.code) if result.HasField("error") else "OK" for result in results
    ]


@asynccontextmanager
async def running(load: Load, **changes: Any) -> AsyncIterator[RunningNode]:
    """Run a node in this process until the block ends; fails where it does not become ready."""
    settings = settings_of(**changes)
    node = Node(settings, load)
    node.metrics = WatchedMetrics(CollectorRegistry())
    task = asyncio.create_task(node.run())
    await until_ready(node, task)
    address = f"{settings.host}:{node.info['grpc_port']}"
    ops_url = f"http://{settings.host}:{node.info['ops_port']}"
    try:
        async with (
            grpc.aio.insecure_channel(address, message_options(settings.max_body)) as channel,
            httpx.AsyncClient(base_url=ops_url) as ops,
        ):
            yield RunningNode(node, task, channel, ops, settings)
    finally:
        node.stop()
        await asyncio.wait_for(task, PATIENCE)


async def until_ready(node: Node, task: asyncio.Task[None]) -> None:
    """Wait for a node to serve; AssertionError where it ends before."""
    ready = asyncio.create_task(node.ready.wait())
    await asyncio.wait({ready, task}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    assert node.ready.is_set(), "the node did not become ready"


class NodeProcess:
    """A process of tests.fake_node, and what it logged so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.logs: list[dict[str, Any]] = []
        self._ended = False
        self._news = asyncio.Condition()
        # Read without a pause: a full pipe would stop the process.
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.logs.append(json.loads(line))
                self._news.notify_all()
        async with self._news:
            self._ended = True
            self._news.notify_all()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of one kind."""
        return [line for line in self.logs if line["event"] == event]

    async def until(self, event: str) -> dict[str, Any]:
        """Wait for the first line of a kind; AssertionError where the process ends without it."""
        async with asyncio.timeout(PROCESS_PATIENCE), self._news:
            await self._news.wait_for(lambda: self.logged(event) or self._ended)
        assert self.logged(event), f"the process ended without {event!r}: {self.logs}"
        return self.logged(event)[0]

    async def end(self) -> int:
        """Wait for its end; the exit code."""
        async with asyncio.timeout(PROCESS_PATIENCE):
            await self._reading
            return await self.process.wait()


def process(kind: str, *models: Path, **env: str) -> AbstractAsyncContextManager[NodeProcess]:
    """Start a node of tests.fake_node; it is killed where it outlives the block."""
    return module_process("tests.fake_node", kind, *models, **env)


@asynccontextmanager
async def module_process(
    module: str, argument: str | None, *models: Path, **env: str
) -> AsyncIterator[NodeProcess]:
    """The same with another module of nodes."""
    settings = {
        "MESH_MODEL": ",".join(map(str, models)),
        "MESH_GRPC_PORT": "0",
        "MESH_OPS_PORT": "0",
        "MESH_THREADS": "1",
        "MESH_DRAIN_DELAY": "0.2",
        **env,
    }
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *([argument] if argument else [])),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **settings},
    )
    try:
        yield NodeProcess(started)
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
