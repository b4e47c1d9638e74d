"""The client of fusion over real gRPC: what its calls carry, and whose errors are whose."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from gateway.clients import FusionClient
from gateway.metrics import GatewayMetrics
from mesh.channels import open_channel
from mesh.embedding import Modality
from mesh.errors import MeshError, VersionMismatch
from mesh.v1 import fusion_pb2
from tests.integration.grpc_peers import MAX_BODY, FusionPeer, Server, soon
from tests.unit.gateway.fakes import embedding


class Head(FusionPeer):
    """Answers examples, but refuses any call in which one is called "bad"."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def Classify(self, request, context):
        ids = [example.request_id for example in request.examples]
        self.calls.append(ids)
        if "bad" in ids:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad")
        scores = [fusion_pb2.Score(label="a", probability=1.0)]
        answers = [
            fusion_pb2.Classification(name=name, version=request.version, scores=scores)
            for name in ids
        ]
        return fusion_pb2.ClassifyResponse(classifications=answers)


async def test_fusion_is_described_and_its_refusal_understood() -> None:
    """Heads arrive as data; FAILED_PRECONDITION is a version mismatch."""
    async with Server(FusionPeer()) as server:
        channel = open_channel(f"127.0.0.1:{server.port}", MAX_BODY)
        client = FusionClient(channel, GatewayMetrics())
        [head] = await client.describe(soon())
        assert (head.name, head.version, head.labels) == ("fake", "f1", ("a", "b"))
        assert head.encoders == {Modality.TEXT: "v1"}
        with pytest.raises(VersionMismatch):
            await client.classify("f1", [[embedding(Modality.TEXT)]], soon(), "id")
        await client.close()


@asynccontextmanager
async def fusion_client(peer: FusionPeer) -> AsyncIterator[FusionClient]:
    async with Server(peer) as server:
        client = FusionClient(open_channel(f"127.0.0.1:{server.port}", MAX_BODY), GatewayMetrics())
        yield client
        await client.close()


def ask(client: FusionClient, name: str, version: str = "f1"):
    return client.classify(version, [[embedding(Modality.TEXT)]], soon(), name)


async def test_examples_of_one_moment_share_a_call_to_their_head() -> None:
    """Each gets its own answer, of the head that it asked for."""
    peer = Head()
    async with fusion_client(peer) as client:
        asked = [ask(client, "a"), ask(client, "b", "f2"), ask(client, "c")]
        answers = [answer for [answer] in await asyncio.gather(*asked)]
    assert [(a.name, a.version) for a in answers] == [("a", "f1"), ("b", "f2"), ("c", "f1")]
    assert sorted(peer.calls) == [["a", "c"], ["b"]]


async def test_one_bad_example_fails_alone() -> None:
    """Fusion refuses the whole call, so its examples are sent again, one by one."""
    peer = Head()
    async with fusion_client(peer) as client:
        asked = [ask(client, name) for name in ("a", "bad", "c")]
        first, bad, last = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(bad, MeshError)
    assert [answer.name for [answer] in (first, last)] == ["a", "c"]
