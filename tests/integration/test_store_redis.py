"""The store over a real Redis that comes, goes and hangs."""

import asyncio
import contextlib
import signal
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Self

import pytest
import uvloop
from redis.asyncio import Redis

from gateway.metrics import GatewayMetrics
from gateway.store import Store
from gateway.writing import Claim
from mesh.settings import GatewaySettings
from tests.redis_process import RedisProcess


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a busy machine needs: there 20 ms may be over before a connection is made."""
    for limit in ("READ_TIMEOUT", "MGET_TIMEOUT"):
        monkeypatch.setattr(f"gateway.store.{limit}", 5)


@pytest.fixture
async def store(redis: RedisProcess) -> AsyncIterator[Store]:
    # No memory of its own: every look-up goes to Redis.
    opened = open_store(redis)
    yield opened
    await opened.close()


def open_store(redis: RedisProcess) -> Store:
    return Store.connect(GatewaySettings(redis_url=redis.url, cache_lru_bytes=0), GatewayMetrics())


async def until_found(store: Store, key: str, value: bytes) -> None:
    """In Redis itself: a store finds what is on its way there, too."""
    async with asyncio.timeout(10):
        while await store.peek([key]) != {key: value}:
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("patience")
async def test_two_processes_share_what_was_put(redis: RedisProcess, store: Store) -> None:
    """What one gateway keeps another finds, byte for byte."""
    other = open_store(redis)
    value = bytes(range(256))
    store.put({"a": value, "b": b""})
    await until_found(other, "a", value)
    assert await other.get(["a", "b", "c"]) == {"a": value, "b": b""}
    await other.close()


@pytest.mark.usefixtures("patience")
async def test_a_claim_is_one_gateways_alone(redis: RedisProcess, store: Store) -> None:
    """Until its owner ends it, after what it was for is there, or until its time is over."""
    other = open_store(redis)
    mine, theirs = Claim("claim", "mine"), Claim("claim", "theirs")
    assert await store.claim(mine, 60, 1) is True
    assert await other.claim(theirs, 60, 1) is False
    other.put({}, theirs)
    await other.close()
    assert await store.peek(["claim"]) == {"claim": b"mine"}
    store.put({"a": b"1"}, mine)
    await until_found(store, "a", b"1")
    assert await store.peek(["claim"]) == {}
    assert await store.claim(theirs, 0.05, 1) is True
    async with asyncio.timeout(10):
        while not await store.claim(mine, 60, 1):
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("patience")
async def test_claims_of_many_end_with_what_was_put(store: Store) -> None:
    """All in one command: each entry under its key, and each claim by its own token."""
    claims = [Claim(f"claim {index}", f"token {index}") for index in range(3)]
    for claim in claims:
        assert await store.claim(claim, 60, 1) is True
    store.put({"a": b"1", "b": b"2"}, claims[0])
    store.put({}, replace(claims[1], token="somebody's"))
    store.put({"c": b"3"}, claims[2])
    await until_found(store, "c", b"3")
    found = await store.peek(["a", "b", "c", *(claim.key for claim in claims)])
    assert found == {"a": b"1", "b": b"2", "c": b"3", "claim 1": b"token 1"}


@pytest.mark.usefixtures("patience")
async def test_a_full_redis_takes_no_entries_but_ends_claims(
    redis: RedisProcess, store: Store
) -> None:
    """Others would wait for the claim's owner."""
    claim = Claim("claim", "mine")
    assert await store.claim(claim, 60, 1) is True
    client = Redis.from_url(redis.url)
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", "1")
    store.put({"a": b"1"}, claim)
    async with asyncio.timeout(10):
        while await store.peek(["a", "claim"]) != {}:
            await asyncio.sleep(0.02)
    await client.config_set("maxmemory", "0")
    await client.aclose()


async def test_redis_that_died_is_a_miss_and_back_a_hit(redis: RedisProcess, store: Store) -> None:
    """Nothing raises while it is away, and the same store finds it again."""
    store.put({"a": b"1"})
    await until_found(store, "a", b"1")
    redis.kill()
    for _ in range(10):
        assert await store.get(["a"]) == {}
        store.put({"b": b"2"})
    redis.start()
    async with asyncio.timeout(10):
        while await store.peek(["a"]) != {"a": b"3"}:
            store.put({"a": b"3"})
            await asyncio.sleep(0.05)
        while await store.get(["a"]) != {"a": b"3"}:
            await asyncio.sleep(0.05)


async def test_redis_that_hangs_never_mixes_answers_up(redis: RedisProcess, store: Store) -> None:
    """Look-ups that gave up leave no late answer behind for the next on their connection."""
    keys = [f"key-{index}" for index in range(40)]
    store.put({key: key.encode() for key in keys})
    await until_found(store, keys[-1], keys[-1].encode())
    for _ in range(3):
        redis.signal(signal.SIGSTOP)
        assert await asyncio.gather(*(store.get([key]) for key in keys)) == [{}] * len(keys)
        redis.signal(signal.SIGCONT)
        async with asyncio.timeout(10):  # Its own connection is another one than that of a peek.
            while not await store.get(keys):
                await asyncio.sleep(0.02)
        answers = await asyncio.gather(*(store.get([key]) for key in keys))
        for key, answer in zip(keys, answers, strict=True):
            assert answer in ({}, {key: key.encode()})


@pytest.mark.usefixtures("patience")
async def test_look_ups_and_writes_have_a_connection_each(
    redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: to ask the pool each time would cost nearly as much as to send it."""
    client = Redis.from_url(redis.url)
    taken = 0
    take = client.connection_pool.get_connection

    async def counted() -> Any:
        nonlocal taken
        taken += 1
        return await take()

    monkeypatch.setattr(client.connection_pool, "get_connection", counted)
    store = Store(client, GatewaySettings(cache_lru_bytes=0), GatewayMetrics())
    for index in range(20):
        store.put({str(index): b"1"})
        await store.get(["x", str(index)])
    await store.close()
    assert taken == 2


@pytest.mark.usefixtures("patience")
def test_a_connection_that_is_reset_costs_no_answer(redis: RedisProcess) -> None:
    """As by a proxy that forgot it; the gateway's event loop tells of it by another error."""

    async def look_up_twice() -> None:
        async with Resetting(redis.port) as proxy:
            settings = GatewaySettings(
                redis_url=f"redis://127.0.0.1:{proxy.port}", cache_lru_bytes=0
            )
            store = Store.connect(settings, GatewayMetrics())
            store.put({"a": b"1"})
            await until_found(store, "a", b"1")
            assert await store.get(["a"]) == {"a": b"1"}
            await proxy.reset()
            assert await store.get(["a"]) == {"a": b"1"}
            await proxy.reset()
            store.put({"b": b"2"})
            await until_found(store, "b", b"2")
            await store.close()

    uvloop.run(look_up_twice())


class Resetting:
    """A proxy before a Redis, which can reset all connections that it has."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: list[asyncio.StreamWriter] = []
        self._flows: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1")
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for flow in self._flows:
            flow.cancel()
        await asyncio.gather(*self._flows, return_exceptions=True)

    async def reset(self) -> None:
        """Neither side hears of it by a proper end. What a side has left itself has no socket."""
        left = [end for end in self._ends if not end.transport.is_closing()]
        assert left
        for end in left:
            linger = struct.pack("ii", 1, 0)
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            end.transport.abort()
        self._ends.clear()
        await asyncio.sleep(0.05)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends += writer, back
        for one, other in ((reader, back), (there, writer)):
            self._flows.append(asyncio.create_task(_flow(one, other)))


async def _flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
