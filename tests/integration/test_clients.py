"""The gateway's clients over real gRPC: balancing, health, retries, cancellation, reconnection."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from cli.machine import free_ports
from gateway.clients import EncoderClient
from gateway.metrics import GatewayMetrics
from gateway.peer import RETURN_WAIT
from gateway.wiring import open_mesh
from mesh.channels import open_channel
from mesh.embedding import Modality
from mesh.errors import DeadlineExpired, InvalidInput, MeshError, Unavailable
from mesh.settings import GatewaySettings
from mesh.v1 import encoder_pb2
from tests.integration.grpc_peers import (
    MAX_BODY,
    NOT_SERVING,
    SERVING,
    Crowd,
    EncoderPeer,
    FusionPeer,
    Server,
    soon,
)
from tests.unit.gateway.fakes import embedding


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


async def spread(client: EncoderClient, *servers: Server, calls: int = 20) -> list[int]:
    """How many of some calls, one after the other, each server got."""
    before = [len(server.peer.calls) for server in servers]
    for index in range(calls):
        await client.encode(f"text {index}", soon(), "id")
    return [len(server.peer.calls) - count for server, count in zip(servers, before, strict=True)]


async def both_found(client: EncoderClient, *servers: Server) -> None:
    async with asyncio.timeout(10):
        while min(await spread(client, *servers, calls=4)) == 0:
            pass


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


async def test_calls_go_round_all_addresses() -> None:
    """Two replicas share the calls."""
    async with (
        Server(EncoderPeer()) as one,
        Server(EncoderPeer()) as two,
        encoder_client(one, two) as client,
    ):
        await both_found(client, one, two)
        assert await spread(client, one, two) == [10, 10]


@pytest.mark.parametrize("replicas", [1, 2])
async def test_as_many_calls_are_out_as_there_are_replicas(replicas: int) -> None:
    """What comes meanwhile goes together; how many there are, their answers tell."""
    crowd = Crowd()
    async with AsyncExitStack() as stack:
        peers = [EncoderPeer(0.02, crowd) for _ in range(replicas)]
        servers = [await stack.enter_async_context(Server(peer)) for peer in peers]
        client = await stack.enter_async_context(encoder_client(*servers))
        await both_found(client, *servers)

        async def ask(name: str) -> None:
            for index in range(10):
                await client.encode(f"{name} {index}", soon(), "id")

        await asyncio.gather(*(ask(f"caller {number}") for number in range(8)))
    assert crowd.most == replicas
    assert max(size for peer in peers for size in peer.calls) > 1


async def test_a_replica_that_hangs_holds_up_only_what_it_was_sent() -> None:
    """What comes after soon goes to the other one, every second call at least."""
    async with (
        Server(EncoderPeer()) as good,
        Server(EncoderPeer()) as bad,
        encoder_client(good, bad) as client,
    ):
        await both_found(client, good, bad)
        bad.peer.delay = 60
        asked = []
        for index in range(12):
            asked.append(asyncio.ensure_future(client.encode(f"text {index}", soon(3.0), "id")))
            await asyncio.sleep(0.1)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(not isinstance(outcome, MeshError) for outcome in outcomes) >= 4


async def test_an_address_that_is_not_serving_gets_nothing() -> None:
    """Health takes a replica out of the balance, and back in."""
    async with (
        Server(EncoderPeer()) as one,
        Server(EncoderPeer()) as two,
        encoder_client(one, two) as client,
    ):
        await both_found(client, one, two)
        await two.health.set("", NOT_SERVING)
        async with asyncio.timeout(10):
            while (await spread(client, one, two, calls=4))[1]:
                pass
        assert await spread(client, one, two) == [20, 0]
        await two.health.set("", SERVING)
        await both_found(client, one, two)


@pytest.mark.parametrize("size", [1, 300_000, 9_000_000])
async def test_unavailable_is_tried_again_whatever_the_size(size: int) -> None:
    """Also messages over the buffer that gRPC keeps for retries unless told otherwise."""
    peer = EncoderPeer()
    peer.failures = 2
    async with Server(peer) as server, encoder_client(server) as client:
        await client.encode("x" * size, soon(), "id")
    assert len(peer.calls) == 3


async def test_a_peer_that_came_back_is_found_again() -> None:
    """After some time down, within the bound on reconnection."""
    async with Server(EncoderPeer()) as server, encoder_client(server) as client:
        await client.encode("before", soon(), "id")
        port = server.port
        await server.__aexit__()
        for _ in range(5):
            with pytest.raises(Unavailable):
                await client.encode("down", soon(), "id")
            await asyncio.sleep(0.4)  # Real time must pass for the back-off to grow.
        async with Server(EncoderPeer(), port):
            started = time.monotonic()
            async with asyncio.timeout(5):
                while True:
                    try:
                        await client.encode("again", soon(), "id")
                        break
                    except Unavailable:
                        await asyncio.sleep(0.05)
            assert time.monotonic() - started < 3


async def test_nobody_there_is_unavailable_soon() -> None:
    """A refused connection does not wait for the deadline."""
    async with Server(EncoderPeer()) as server:
        port = server.port
    client = EncoderClient(
        Modality.TEXT, open_channel(f"127.0.0.1:{port}", MAX_BODY), GatewayMetrics()
    )
    with pytest.raises(Unavailable):
        await asyncio.wait_for(client.encode("x", soon(30), "id"), 5)
    await client.close()


async def test_a_gap_between_two_replicas_is_waited_for() -> None:
    """When the last one leaves before the next is found, calls wait for it and none fails."""
    [port] = free_ports(1)
    async with Server(EncoderPeer()) as old, encoder_client(f"127.0.0.1:{port}", old) as client:
        await client.encode("before", soon(), "id")
        await old.health.set("", NOT_SERVING)
        await asyncio.sleep(0.2)  # Calls of the moment before the client hears of it are served.
        calls = [asyncio.ensure_future(client.encode(str(i), soon(), "id")) for i in range(9)]
        _, waiting = await asyncio.wait(calls, timeout=0.5)
        assert waiting
        async with Server(EncoderPeer(), port):
            await asyncio.gather(*calls)


async def test_a_service_that_stays_away_is_waited_for_once() -> None:
    """Afterwards calls fail at once, until one succeeds."""
    async with Server(EncoderPeer()) as server, encoder_client(server) as client:
        await client.encode("before", soon(), "id")
        await server.__aexit__()
        with pytest.raises(Unavailable):
            await client.encode("waits", soon(30), "id")
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await client.encode("does not", soon(30), "id")
        assert time.monotonic() - started < RETURN_WAIT


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
