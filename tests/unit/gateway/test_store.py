"""The store: this process's memory in front of Redis, and Redis that may fail as it likes."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway import store as storing
from gateway.metrics import GatewayMetrics
from gateway.writing import Claim
from tests.unit.gateway.fake_redis import FakeRedis, errors, open_store


async def test_what_was_put_is_found_in_redis(redis: FakeRedis, metrics: GatewayMetrics) -> None:
    """Without memory of its own, every key comes by one MGET."""
    store = open_store(redis, metrics)
    store.put({"a": b"1", "b": b"2"})
    await store.close()
    assert await store.get(["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert redis.mgets == [["a", "b", "c"]]


async def test_memory_answers_before_redis(redis: FakeRedis, metrics: GatewayMetrics) -> None:
    """Only what memory lacks is asked of Redis, and what came from there is then in memory."""
    store = open_store(redis, metrics, lru_bytes=10_000)
    store.put({"a": b"1"})
    redis.entries["b"] = b"2"
    assert await store.get(["a", "b"]) == {"a": b"1", "b": b"2"}
    assert await store.get(["a", "b"]) == {"a": b"1", "b": b"2"}
    assert redis.mgets == [["b"]]
    await store.close()


async def test_look_ups_of_one_moment_share_a_round_trip(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """What comes while one is under way goes with the next; each gets its own."""
    store = open_store(redis, metrics)
    redis.entries = {"a": b"1", "b": b"2", "c": b"3"}
    first = asyncio.ensure_future(store.get(["a"]))
    await asyncio.sleep(0)
    others = [store.get(["b", "x"]), store.get(["b", "c"])]
    assert await asyncio.gather(first, *others) == [
        {"a": b"1"},
        {"b": b"2"},
        {"b": b"2", "c": b"3"},
    ]
    assert redis.mgets in ([["a"], ["b", "x", "c"]], [["a", "b", "x", "c"]])
    await store.close()


async def test_redis_that_is_down_is_a_miss(redis: FakeRedis, metrics: GatewayMetrics) -> None:
    """Neither reads nor writes raise; both are counted."""
    redis.error = RedisConnectionError("refused")
    store = open_store(redis, metrics)
    assert await store.get(["a"]) == {}
    store.put({"a": b"1"})
    await store.close()
    assert errors(metrics, "read") == 1
    assert errors(metrics, "write") == 1


async def test_redis_that_hangs_costs_little_and_then_nothing(
    redis: FakeRedis, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few look-ups give up after READ_TIMEOUT; then Redis is left alone for a while."""
    monkeypatch.setattr(storing, "PAUSE", 60.0)
    redis.hangs = True
    store = open_store(redis, metrics)
    for _ in range(10):
        assert await store.get(["a"]) == {}
    assert len(redis.mgets) == storing.PATIENCE


async def test_redis_that_came_back_gives_hits_again(
    redis: FakeRedis, metrics: GatewayMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the pause it is asked again."""
    monkeypatch.setattr(storing, "PAUSE", 0.0)
    redis.entries["a"] = b"1"
    redis.error = RedisConnectionError("refused")
    store = open_store(redis, metrics)
    for _ in range(storing.PATIENCE):
        await store.get(["a"])
    redis.error = None
    assert await store.get(["a"]) == {"a": b"1"}


async def test_a_claim_is_made_once(redis: FakeRedis, metrics: GatewayMetrics) -> None:
    """And not at all where Redis fails, or is left alone; a peek has no answer then, either."""
    store = open_store(redis, metrics)
    assert await store.claim(Claim("a", "mine"), 5, 1) is True
    assert await store.claim(Claim("a", "theirs"), 5, 1) is False
    assert redis.lifetimes_ms == [5000]
    redis.error = RedisConnectionError("refused")
    for _ in range(storing.PATIENCE + 1):
        assert await store.claim(Claim("b", "mine"), 5, 1) is None
    assert await store.peek(["a"]) is None


async def test_a_claim_without_time_says_nothing_of_redis(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """It has what a look-up left of its time; Redis is asked again after that."""
    store = open_store(redis, metrics)
    redis.hangs = True
    for _ in range(storing.PATIENCE):
        assert await store.claim(Claim("a", "mine"), 5, storing.READ_TIMEOUT / 20) is None
    redis.hangs = False
    redis.entries["b"] = b"1"
    assert await store.get(["b"]) == {"b": b"1"}
