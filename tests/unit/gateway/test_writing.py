"""What a store writes: in the background, found meanwhile, and in memory where it must be."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway import store as storing
from gateway import writing
from gateway.metrics import GatewayMetrics
from tests.unit.gateway.fake_redis import FakeRedis, errors, open_store


async def test_memory_keeps_what_was_asked_for_again(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """Once Redis has what was put, memory lets go of it; whoever asks for it brings it back."""
    store = open_store(redis, metrics, lru_bytes=10_000)
    store.put({"a": b"1"})
    await store.close()
    assert store.at_hand("a") is None
    assert await store.get(["a"]) == {"a": b"1"}
    assert store.at_hand("a") == b"1"
    assert await store.get(["a"]) == {"a": b"1"}
    assert redis.mgets == [["a"]]


@pytest.mark.parametrize("lru_bytes", [0, 10_000])
async def test_what_is_being_written_is_found(
    redis: FakeRedis, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch, lru_bytes: int
) -> None:
    """Nobody misses it meanwhile, not even while Redis takes its time."""
    monkeypatch.setattr(writing, "WRITE_TIMEOUT", 0.2)
    redis.hangs = True
    store = open_store(redis, metrics, lru_bytes)
    store.put({"a": b"1"})
    await asyncio.sleep(2 * writing.WRITE_PAUSE)
    assert redis.writes == 1
    assert await store.get(["a"]) == {"a": b"1"}
    assert redis.mgets == []
    await store.close()


async def test_what_was_put_again_while_it_was_written_is_not_forgotten(
    redis: FakeRedis, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write ends; the second's entry is still on its way."""
    takes = asyncio.Event()
    monkeypatch.setattr(redis, "_answer", takes.wait)
    store = open_store(redis, metrics)
    store.put({"a": b"1"})
    while not redis.writes:
        await asyncio.sleep(0)
    store.put({"a": b"2"})
    takes.set()
    while not redis.entries:
        await asyncio.sleep(0)
    assert store.at_hand("a") == b"2"
    await store.close()
    assert redis.entries == {"a": b"2"}
    assert store.at_hand("a") is None


async def test_what_redis_does_not_take_stays_in_memory(
    redis: FakeRedis, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a write failed, Redis is left alone, or too much waits for it already."""
    monkeypatch.setattr(storing, "PAUSE", 60.0)
    monkeypatch.setattr(writing, "MAX_WRITES", 1)
    redis.error = RedisConnectionError("refused")
    store = open_store(redis, metrics, lru_bytes=10_000)
    store.put({"failed": b"1"})
    store.put({"dropped": b"2"})
    await store.close()
    for _ in range(storing.PATIENCE):
        await store.get(["x"])
    store.put({"resting": b"3"})
    await store.close()
    assert [store.at_hand(key) for key in ("failed", "dropped", "resting")] == [b"1", b"2", b"3"]
    assert errors(metrics, "write") == errors(metrics, "write_dropped") == 1


async def test_puts_of_one_moment_share_a_round_trip(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """Each of a request's embeddings is put by itself."""
    store = open_store(redis, metrics)
    for key in "abc":
        store.put({key: key.encode()})
    await store.close()
    assert redis.entries == {"a": b"a", "b": b"b", "c": b"c"}
    assert redis.writes == 1


async def test_puts_that_a_slow_redis_does_not_take_are_dropped_and_counted(
    redis: FakeRedis, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They don't pile up."""
    monkeypatch.setattr(writing, "WRITE_TIMEOUT", 0.05)
    redis.hangs = True
    store = open_store(redis, metrics)
    store.put({"first": b""})
    await asyncio.sleep(2 * writing.WRITE_PAUSE)
    for index in range(writing.MAX_WRITES + 3):
        store.put({str(index): b""})
    await store.close()
    assert errors(metrics, "write_dropped") == 3
    assert errors(metrics, "write") == 1 + writing.MAX_WRITES


async def test_entries_end_after_the_ttl_and_not_all_at_once(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """Lifetimes lie between the setting and a tenth more, and differ."""
    store = open_store(redis, metrics)
    store.put({str(index): b"" for index in range(50)})
    await store.close()
    assert all(100_000 <= lifetime <= 110_000 for lifetime in redis.lifetimes_ms)
    assert len(set(redis.lifetimes_ms)) > 1


async def test_writes_that_fail_leave_look_ups_alone(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """Only look-ups decide whether Redis is left alone for a while."""
    store = open_store(redis, metrics)
    redis.error = RedisConnectionError("no room")
    for index in range(2 * storing.PATIENCE):
        store.put({str(index): b""})
    await store.close()
    redis.error = None
    redis.entries["a"] = b"1"
    assert await store.get(["a"]) == {"a": b"1"}


async def test_what_redis_takes_but_does_not_give_is_in_memory(
    redis: FakeRedis, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that is too slow for look-ups, or forbids them, must cost no hits of one's own."""
    monkeypatch.setattr(redis, "mget", redis.refuse)
    store = open_store(redis, metrics, lru_bytes=10_000)
    assert await store.get(["a"]) == {}
    store.put({"a": b"1"})
    await store.close()
    assert redis.entries == {"a": b"1"}
    assert await store.get(["a"]) == {"a": b"1"}


async def test_what_is_asked_for_while_it_is_written_stays_in_memory(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """That is the second time."""
    store = open_store(redis, metrics, lru_bytes=10_000)
    store.put({"a": b"1", "b": b"2"})
    assert await store.get(["a"]) == {"a": b"1"}
    await store.close()
    assert [store.at_hand(key) for key in "ab"] == [b"1", None]


async def test_a_store_that_closes_writes_no_more(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """What is put after that stays in memory, and nothing is sent by a closed connection."""
    store = open_store(redis, metrics, lru_bytes=10_000)
    await store.close()
    store.put({"a": b"1"})
    await asyncio.sleep(2 * writing.WRITE_PAUSE)
    assert redis.writes == 0
    assert store.at_hand("a") == b"1"
    assert errors(metrics, "write_dropped") is None
