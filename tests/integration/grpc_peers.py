"""Services of the mesh that a test makes up, on real gRPC servers, and a client of them."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from gateway.clients import EncoderClient
from gateway.metrics import GatewayMetrics
from mesh.channels import message_options, open_channel
from mesh.embedding import Modality, write_embedding
from mesh.v1 import encoder_pb2, encoder_pb2_grpc, fusion_pb2, fusion_pb2_grpc
from tests.unit.gateway.fakes import embedding

MAX_BODY = 64 * 1024 * 1024
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class Crowd:
    """How many calls some peers serve at a time, now and at most."""

    now: int = 0
    most: int = 0


class EncoderPeer(encoder_pb2_grpc.EncoderServicer):
    """Encodes what it gets; "bad" is refused, "hang" waits for ever, `failures` come first.

    Each call takes `delay` seconds.
    """

    def __init__(self, delay: float = 0.0, crowd: Crowd | None = None) -> None:
        self.delay = delay
        self.crowd = crowd or Crowd()
        self.replica = 1 + secrets.randbits(32)
        self.calls: list[int] = []
        self.metadata: list[dict[str, str]] = []
        self.timeouts: list[float] = []
        self.failures = 0
        self.cancelled = asyncio.Event()
        self.hanging = asyncio.Event()

    async def Describe(self, request, context):
        return encoder_pb2.EncoderDescribeResponse(version="v1", dim=1)

    async def Encode(self, request, context):
        self.calls.append(len(request.items))
        self.metadata.append(dict(context.invocation_metadata()))
        self.timeouts.append(request.items[0].timeout)
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        if any(item.text == "hang" for item in request.items):
            self.hanging.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        self.crowd.now += 1
        self.crowd.most = max(self.crowd.most, self.crowd.now)
        await asyncio.sleep(self.delay)
        self.crowd.now -= 1
        return encoder_pb2.EncodeResponse(
            results=[self._result(item) for item in request.items], replica=self.replica
        )

    def _result(self, item):
        if item.text == "bad":
            error = encoder_pb2.Error(code=encoder_pb2.CODE_INVALID, message="bad")
            return encoder_pb2.Result(error=error)
        result = encoder_pb2.Result()
        write_embedding(embedding(Modality.TEXT), result.embedding)
        return result


class FusionPeer(fusion_pb2_grpc.FusionServicer):
    """Holds one head, and refuses every example."""

    async def Describe(self, request, context):
        trained = fusion_pb2.TrainedOn(modality=1, version="v1", dim=1)
        artifact = fusion_pb2.FusionArtifact(
            name="fake", version="f1", labels=["a", "b"], encoders=[trained]
        )
        return fusion_pb2.FusionDescribeResponse(artifacts=[artifact])

    async def Classify(self, request, context):
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no such head")


class Server:
    """One peer on a port, with health."""

    def __init__(self, peer: EncoderPeer | FusionPeer, port: int = 0) -> None:
        self.peer = peer
        self.health = health_aio.HealthServicer()
        options = [*message_options(MAX_BODY), ("grpc.so_reuseport", 0)]
        self._server = grpc.aio.server(options=options)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        if isinstance(peer, EncoderPeer):
            encoder_pb2_grpc.add_EncoderServicer_to_server(peer, self._server)
        else:
            fusion_pb2_grpc.add_FusionServicer_to_server(peer, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    async def __aenter__(self) -> "Server":
        await self._server.start()
        await self.health.set("", SERVING)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


@asynccontextmanager
async def encoder_client(*servers: Server | str) -> AsyncIterator[EncoderClient]:
    targets = "ipv4:" + ",".join(
        server if isinstance(server, str) else f"127.0.0.1:{server.port}" for server in servers
    )
    client = EncoderClient(Modality.TEXT, open_channel(targets, MAX_BODY), GatewayMetrics())
    try:
        yield client
    finally:
        await client.close()
