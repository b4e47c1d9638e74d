"""Two levels of one mapping from keys to bytes: this process's own memory, then Redis.

A look-up costs one MGET at most. Redis that is down, slow or wrong costs hits and never answers: a
look-up gives up after `READ_TIMEOUT` seconds, and after `PATIENCE` failures in a row Redis is left
alone for `PAUSE` seconds.
"""

import asyncio
import random
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.metrics import GatewayMetrics
from mesh.settings import GatewaySettings

READ_TIMEOUT: Final = 0.02
WRITE_TIMEOUT: Final = 1.0
PATIENCE: Final = 3
PAUSE: Final = 0.5
# Writes that may wait for a slow Redis; beyond it they are dropped and counted.
MAX_WRITES: Final = 256
MAX_CONNECTIONS: Final = 32
# Of them, so that writes never make a look-up wait for a connection.
MAX_WRITING: Final = 8
# Entries live up to a tenth longer than told, so that those written together don't end together.
TTL_JITTER: Final = 0.1

# Ends nobody else's claim, where one's own has run out meanwhile.
END_CLAIM: Final = """
if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end
"""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody's word that they are at what `key` names; `token` tells them apart."""

    key: str
    token: str


class Store:
    """Two levels of one mapping from keys to bytes. Used in one loop, `at_hand` anywhere."""

    def __init__(
        self, client: "redis.asyncio.Redis", settings: GatewaySettings, metrics: GatewayMetrics
    ):
        self._redis = client
        self._ttl = settings.cache_ttl
        self._local = LocalStore(settings.cache_lru_bytes)
        self._metrics = metrics
        self._writes: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Semaphore(MAX_WRITING)
        self._failures = 0
        self._paused_until = 0.0

    @classmethod
    def connect(cls, settings: GatewaySettings, metrics: GatewayMetrics) -> "Store":
        """A store on MESH_REDIS_URL. Connects on first use, so Redis may come later."""
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=MAX_CONNECTIONS,
            timeout=READ_TIMEOUT,
            socket_connect_timeout=WRITE_TIMEOUT,
            socket_timeout=WRITE_TIMEOUT,
            # Once more on a fresh connection: the pooled one may be from before Redis restarted.
            retry=Retry(NoBackoff(), 1),
        )
        return cls(redis.asyncio.Redis.from_pool(pool), settings, metrics)

    async def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is there of `keys`, from memory and one MGET for the rest."""
        found = {key: value for key in keys if (value := self._local.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        if missing:
            found |= await self._fetch(missing)
        return found

    def at_hand(self, key: str) -> bytes | None:
        """What this process's own memory has. Callable from any thread."""
        return self._local.get(key)

    async def peek(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """What Redis has of `keys`, whatever memory says; None where it does not answer."""
        return await self._ask(partial(self._mget, keys), READ_TIMEOUT)

    async def claim(self, claim: Claim, seconds: float, patience: float) -> bool | None:
        """Hold a key for `seconds`. False where somebody does; None where Redis does not answer."""
        return await self._ask(partial(self._set_new, claim, seconds), min(patience, READ_TIMEOUT))

    def put(self, entries: Mapping[str, bytes], done: Claim | None = None) -> None:
        """Keep entries: in memory at once, in Redis soon, by a task of its own.

        The claim, if any, ends in Redis when they are there.
        """
        for key, value in entries.items():
            self._local.put(key, value)
        if self._resting():
            return
        if len(self._writes) >= MAX_WRITES:
            self._metrics.cache_errors.labels("write_dropped").inc()
            return
        task = asyncio.ensure_future(self._write(dict(entries), done))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """Finish the writes that wait, then close the connections."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._redis.aclose()

    async def _fetch(self, keys: list[str]) -> dict[str, bytes]:
        found = await self._ask(partial(self._mget, keys), READ_TIMEOUT) or {}
        for key, value in found.items():
            self._local.put(key, value)
        return found

    async def _mget(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._metrics.cache_round_trips.inc()
        values = await self._redis.mget(keys)
        return {
            key: value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)
        }

    async def _set_new(self, claim: Claim, seconds: float) -> bool:
        milliseconds = max(1, int(1000 * seconds))
        return bool(await self._redis.set(claim.key, claim.token, nx=True, px=milliseconds))

    async def _ask(self, question: Callable[[], Awaitable[T]], patience: float) -> T | None:
        """Redis's answer; None where it is left alone, or does not give one in time."""
        if self._resting():
            return None
        try:
            async with asyncio.timeout(patience):
                answer = await question()
        except (RedisError, OSError, TimeoutError) as error:
            # What had only the rest of another question's time tells nothing of Redis.
            if patience >= READ_TIMEOUT or not isinstance(error, TimeoutError):
                self._read_failed(error)
            return None
        self._failures = 0
        return answer

    async def _write(self, entries: dict[str, bytes], done: Claim | None) -> None:
        try:
            async with self._writing, asyncio.timeout(WRITE_TIMEOUT):
                pipe = self._redis.pipeline(transaction=False)
                for key, value in entries.items():
                    pipe.set(key, value, px=self._lifetime_ms())
                if done:
                    pipe.eval(END_CLAIM, 1, done.key, done.token)
                await pipe.execute()
        except (RedisError, OSError, TimeoutError):
            self._metrics.cache_errors.labels("write").inc()

    def _lifetime_ms(self) -> int:
        # Not a secret: it only spreads the ends of the entries.
        return int(1000 * self._ttl * (1 + random.random() * TTL_JITTER))

    def _resting(self) -> bool:
        return asyncio.get_running_loop().time() < self._paused_until

    def _read_failed(self, error: Exception) -> None:
        self._metrics.cache_errors.labels("read").inc()
        self._failures += 1
        if self._failures % PATIENCE == 0:
            self._paused_until = asyncio.get_running_loop().time() + PAUSE
        if self._failures == PATIENCE:
            log.warning("redis is not answering", error=type(error).__name__)


class LocalStore:
    """The least recently used entries go first once `capacity` bytes are held.

    Safe to use from any thread.
    """

    def __init__(self, capacity: int) -> None:
        self._lock = threading.Lock()
        self._capacity = capacity
        self._held = 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The value, which then counts as used; None where there is none."""
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep one entry, at the cost of those used least recently; none that fills it alone."""
        with self._lock:
            self._discard(key)
            if _weight(key, value) > self._capacity:
                return
            self._held += _weight(key, value)
            self._entries[key] = value
            while self._held > self._capacity:
                self._discard(next(iter(self._entries)))

    def _discard(self, key: str) -> None:
        value = self._entries.pop(key, None)
        if value is not None:
            self._held -= _weight(key, value)


def _weight(key: str, value: bytes) -> int:
    # The two objects' own overhead and the dictionary's entry come to about this.
    return len(key) + len(value) + 256
