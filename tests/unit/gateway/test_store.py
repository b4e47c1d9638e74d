"""The store: this process's memory in front of Redis, and Redis that may fail as it likes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway import store as storing
from gateway.metrics import GatewayMetrics
from gateway.store import Claim, Store
from mesh.settings import GatewaySettings


class FakeRedis:
    """A dictionary behind the few calls that the store makes; hangs or fails where told."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.lifetimes_ms: list[int] = []
        self.mgets: list[list[str]] = []
        self.error: Exception | None = None
        self.hangs = False
        self.writes = 0

    def client(self) -> "FakeRedis":
        """One with a connection of its own."""
        return self

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        self.mgets.append(list(keys))
        await self._answer()
        return [self.entries.get(key) for key in keys]

    async def set(self, key: str, value: bytes, px: int, nx: bool = False) -> bool | None:
        await self._answer()
        if nx and key in self.entries:
            return None
        self.entries[key] = value
        self.lifetimes_ms.append(px)
        return True

    async def eval(self, script: str, keys: int, *rest: Any) -> None:
        """WRITE, as far as entries go; what it does with claims only Redis itself tells."""
        assert script == storing.WRITE
        self.writes += 1
        await self._answer()
        names, (count, *pairs) = rest[:keys], rest[keys:]
        self.entries |= dict(zip(names[:count], pairs[::2], strict=False))
        self.lifetimes_ms += pairs[1 : 2 * count : 2]

    async def aclose(self) -> None:
        return None

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics()


def open_store(redis: FakeRedis, metrics: GatewayMetrics, lru_bytes: int = 0) -> Store:
    settings = GatewaySettings(cache_lru_bytes=lru_bytes, cache_ttl=100)
    return Store(redis, settings, metrics)


def errors(metrics: GatewayMetrics, operation: str) -> float | None:
    return metrics.registry.get_sample_value("mesh_cache_errors_total", {"operation": operation})


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


async def test_memory_keeps_what_was_asked_for_again(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """Once Redis has what was put, memory lets go of it; whoever asks for it brings it back."""
    store = open_store(redis, metrics, lru_bytes=10_000)
    store.put({"a": b"1"})
    assert store.at_hand("a") == b"1"
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
    monkeypatch.setattr(storing, "WRITE_TIMEOUT", 0.2)
    redis.hangs = True
    store = open_store(redis, metrics, lru_bytes)
    store.put({"a": b"1"})
    await asyncio.sleep(2 * storing.WRITE_PAUSE)
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
    monkeypatch.setattr(storing, "MAX_WRITES", 1)
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
    monkeypatch.setattr(storing, "WRITE_TIMEOUT", 0.05)
    redis.hangs = True
    store = open_store(redis, metrics)
    store.put({"first": b""})
    await asyncio.sleep(2 * storing.WRITE_PAUSE)
    for index in range(storing.MAX_WRITES + 3):
        store.put({str(index): b""})
    await store.close()
    assert errors(metrics, "write_dropped") == 3
    assert errors(metrics, "write") == 1 + storing.MAX_WRITES


async def test_entries_end_after_the_ttl_and_not_all_at_once(
    redis: FakeRedis, metrics: GatewayMetrics
) -> None:
    """Lifetimes lie between the setting and a tenth more, and differ."""
    store = open_store(redis, metrics)
    store.put({str(index): b"" for index in range(50)})
    await store.close()
    assert all(100_000 <= lifetime <= 110_000 for lifetime in redis.lifetimes_ms)
    assert len(set(redis.lifetimes_ms)) > 1


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
