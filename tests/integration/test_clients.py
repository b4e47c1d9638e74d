"""The gateway's clients over real gRPC: what calls carry, how they end, and whom they go to."""

import asyncio

import pytest

from gateway.metrics import GatewayMetrics
from gateway.wiring import open_mesh
from mesh.embedding import Modality
from mesh.errors import DeadlineExpired, InvalidInput, MeshError
from mesh.settings import GatewaySettings
from mesh.v1 import encoder_pb2
from tests.integration.grpc_peers import EncoderPeer, FusionPeer, Server, encoder_client, soon
from tests.unit.gateway.fakes import embedding


async def test_an_item_carries_its_time_and_its_request() -> None:
    """The node sees the seconds left and the request's id, and the embedding comes back whole."""
    async with Server(EncoderPeer()) as server, encoder_client(server) as client:
        answer = await client.encode("hello", soon(5.0), "request-7")
    assert answer == embedding(Modality.TEXT)
    assert 4.0 < server.peer.timeouts[0] <= 5.0
    assert server.peer.metadata[0]["x-request-id"] == "request-7"


async def test_concurrent_items_share_calls_and_fail_alone() -> None:
    """64 at once are far fewer calls, and only the bad one fails."""
    async with Server(EncoderPeer()) as server, encoder_client(server) as client:
        texts = ["bad", *(str(index) for index in range(63))]
        outcomes = await asyncio.gather(
            *(client.encode(text, soon(), "id") for text in texts), return_exceptions=True
        )
    assert len(server.peer.calls) < 10
    assert isinstance(outcomes[0], InvalidInput)
    assert not any(isinstance(outcome, Exception) for outcome in outcomes[1:])


async def test_a_late_answer_is_an_expired_deadline() -> None:
    """The call ends with the longest of its items."""
    async with Server(EncoderPeer()) as server, encoder_client(server) as client:
        with pytest.raises(DeadlineExpired):
            await client.encode("hang", soon(0.2), "id")
        await asyncio.wait_for(server.peer.cancelled.wait(), 5)


async def test_the_call_is_cancelled_when_its_callers_have_left() -> None:
    """The node learns of it long before the deadline."""
    async with Server(EncoderPeer()) as server, encoder_client(server) as client:
        caller = asyncio.ensure_future(client.encode("hang", soon(60), "id"))
        await asyncio.wait_for(server.peer.hanging.wait(), 5)
        caller.cancel()
        await asyncio.wait_for(server.peer.cancelled.wait(), 5)


async def test_calls_carry_what_the_encoder_takes_in_a_batch() -> None:
    """Once it has said so: the rest is for other replicas."""

    class Small(EncoderPeer):
        async def Describe(self, request, context):
            return encoder_pb2.EncoderDescribeResponse(version="v1", dim=1, batch_items=2)

    async with Server(Small()) as server, encoder_client(server) as client:
        await client.describe(soon())
        await asyncio.gather(*(client.encode(str(index), soon(), "id") for index in range(5)))
        assert sorted(server.peer.calls) == [1, 2, 2]


async def test_an_encoder_that_fusion_does_not_use_is_never_connected_to() -> None:
    """Whatever listens there, as its setting's default may well name something else."""
    strangers: list[asyncio.StreamWriter] = []
    async with (
        Server(EncoderPeer()) as text,
        Server(FusionPeer()) as fusion,
        await asyncio.start_server(
            lambda _, writer: strangers.append(writer), "127.0.0.1"
        ) as other,
    ):
        elsewhere = f"127.0.0.1:{other.sockets[0].getsockname()[1]}"
        settings = GatewaySettings(
            text_encoder_targets=f"127.0.0.1:{text.port}",
            vision_encoder_targets=elsewhere,
            audio_encoder_targets=elsewhere,
            fusion_targets=f"127.0.0.1:{fusion.port}",
        )
        mesh = await open_mesh(settings, GatewayMetrics())
        async with asyncio.timeout(10):
            while not mesh.ready():
                await asyncio.sleep(0.02)
        assert [mesh.catalog.state(m) for m in Modality] == ["ready", "unused", "unused"]
        await mesh.close()
    assert strangers == []


async def test_an_answer_of_the_wrong_length_fails_its_items() -> None:
    """A peer that breaks the contract is its own fault, not the caller's."""

    class Short(EncoderPeer):
        async def Encode(self, request, context):
            return encoder_pb2.EncodeResponse()

    async with Server(Short()) as server, encoder_client(server) as client:
        with pytest.raises(MeshError, match="0 results for 1 items"):
            await client.encode("x", soon(), "id")
