"""Clients and replicas that come and go: balancing, health, retries, reconnection."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from cli.machine import free_ports
from gateway.clients import EncoderClient
from gateway.metrics import GatewayMetrics
from gateway.peer import RETURN_WAIT
from mesh.channels import open_channel
from mesh.embedding import Modality
from mesh.errors import MeshError, Unavailable
from tests.integration.grpc_peers import (
    MAX_BODY,
    NOT_SERVING,
    SERVING,
    Crowd,
    EncoderPeer,
    Server,
    encoder_client,
    soon,
)


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
