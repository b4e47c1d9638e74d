"""Two levels of one mapping from keys to bytes: this process's own memory, then Redis.

Memory takes what somebody asked for again: most of what is put never is, and would drive out what
is. Redis has the rest; what Redis did not take, or took while it gave nothing, is in memory, too.

A look-up costs one MGET at most. Those that come while Redis is at another share one, and so do
writes: what is sent costs more than what is in it. Redis that is down, slow or wrong costs hits and
never answers: a look-up gives up after `READ_TIMEOUT` seconds, and after `PATIENCE` failures in a
row Redis is left alone for `PAUSE` seconds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain
from typing import Final, TypeVar

import redis.asyncio
import structlog
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as LateAnswer

from gateway.coalescing import Coalescer
from gateway.local_store import LocalStore
from gateway.metrics import GatewayMetrics
from gateway.writing import WRITE_TIMEOUT, Claim, Entries, Writing
from mesh.settings import GatewaySettings

# Seconds that a look-up takes at most, and the one round trip that it may share with others.
READ_TIMEOUT: Final = 0.02
MGET_TIMEOUT: Final = 0.9 * READ_TIMEOUT
PATIENCE: Final = 3
PAUSE: Final = 0.5
MAX_CONNECTIONS: Final = 32
# uvloop raises the last of these where the other side has reset a connection.
LOST: Final = (LostConnection, LateAnswer, RuntimeError)

T = TypeVar("T")

_SERIALIZER: Final = HiredisRespSerializer()

log = structlog.get_logger(__name__)


class Store:
    """Two levels of one mapping from keys to bytes. Used in one loop, `at_hand` anywhere."""

    def __init__(
        self, client: "redis.asyncio.Redis", settings: GatewaySettings, metrics: GatewayMetrics
    ):
        self._redis = client
        # There is one look-up at a time, and one write: a full one, too, waits for the one before.
        # To take a connection from the pool for each would cost nearly as much as to send it.
        self._reader, self._writer = client.client(), client.client()
        self._local = LocalStore(settings.cache_lru_bytes)
        self._metrics = metrics
        self._reads: Coalescer[Sequence[str], dict[str, bytes]] = Coalescer(self._read)
        self._writing = Writing(self._writer, settings.cache_ttl, metrics, self._wrote)
        self._failures = 0
        self._paused_until = 0.0

    @classmethod
    def connect(cls, settings: GatewaySettings, metrics: GatewayMetrics) -> "Store":
        """A store on MESH_REDIS_URL. Connects on first use, so Redis may come later."""
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            settings.redis_url,
            max_connections=MAX_CONNECTIONS,
            timeout=READ_TIMEOUT,
            # Whoever asks waits no longer than that, either, by a time-out of its own.
            socket_connect_timeout=WRITE_TIMEOUT,
            socket_timeout=None,
            # Once more on a fresh connection: the old one may be from before Redis restarted.
            retry=Retry(NoBackoff(), 1, LOST),  # type: ignore[arg-type]  # Any kind will do.
        )
        pool.connection_class = _packing(pool.connection_class)
        return cls(redis.asyncio.Redis.from_pool(pool), settings, metrics)

    async def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is there of `keys`, from memory and one MGET for the rest."""
        found = {key: value for key in keys if (value := self.at_hand(key)) is not None}
        missing = [key for key in keys if key not in found]
        if missing:
            found |= await self._fetch(missing)
        return found

    def at_hand(self, key: str) -> bytes | None:
        """What this process has without asking Redis. Callable from any thread."""
        # In this order, since what arrives in Redis may be remembered, and is forgotten after that.
        value = self._writing.at_hand(key)
        if value is None:
            return self._local.get(key)
        self._local.put(key, value)
        return value

    async def peek(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """What Redis has of `keys`, whatever memory says; None where it does not answer."""
        return await self._ask(partial(self._mget, self._redis, keys), READ_TIMEOUT)

    async def claim(self, claim: Claim, seconds: float, patience: float) -> bool | None:
        """Hold a key for `seconds`. False where somebody does; None where Redis does not answer."""
        return await self._ask(partial(self._set_new, claim, seconds), min(patience, READ_TIMEOUT))

    def put(self, entries: Entries, done: Claim | None = None) -> None:
        """Keep entries, to be found from now on. The claim, if any, ends when Redis has them."""
        if self._resting() or not self._writing.put(entries, done):
            self._remember(entries)

    async def close(self) -> None:
        """Finish the writes that wait, then close the connections."""
        await self._reads.close()
        await self._writing.finish()
        clients = self._reader, self._writer, self._redis
        # What can't be closed in order is closed by the end of the process.
        await asyncio.gather(*(client.aclose() for client in clients), return_exceptions=True)

    async def _fetch(self, keys: list[str]) -> dict[str, bytes]:
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                found = await self._reads.submit(keys, sum(map(len, keys)))
        except TimeoutError:  # It waited for others' look-ups, too; theirs tell of Redis.
            self._metrics.cache_errors.labels("read").inc()
            return {}
        self._remember(found)
        return found

    def _remember(self, entries: Entries) -> None:
        for key, value in entries.items():
            self._local.put(key, value)

    def _wrote(self, entries: Entries, is_there: bool) -> None:
        """Redis has the entries, or not. One that answers no look-ups had better not be trusted."""
        if self._failures or not is_there:
            self._remember(entries)

    async def _read(self, asked: Sequence[Sequence[str]]) -> list[dict[str, bytes]]:
        """What is there of each one's keys, by one MGET; nothing where Redis does not answer."""
        keys = list(dict.fromkeys(chain(*asked)))
        found = await self._ask(partial(self._mget, self._reader, keys), MGET_TIMEOUT) or {}
        return [{key: found[key] for key in keys if key in found} for keys in asked]

    async def _mget(self, client: "redis.asyncio.Redis", keys: Sequence[str]) -> dict[str, bytes]:
        self._metrics.cache_round_trips.inc()
        values = await client.mget(keys)
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
        except (RedisError, OSError, TimeoutError, RuntimeError) as error:
            # What had only the rest of another question's time tells nothing of Redis.
            if patience >= MGET_TIMEOUT or not isinstance(error, TimeoutError):
                self._read_failed(error)
            return None
        self._failures = 0
        return answer

    def _resting(self) -> bool:
        return time.monotonic() < self._paused_until

    def _read_failed(self, error: Exception) -> None:
        self._metrics.cache_errors.labels("read").inc()
        self._failures += 1
        if self._failures % PATIENCE == 0:
            self._paused_until = time.monotonic() + PAUSE
        if self._failures == PATIENCE:
            log.warning("redis is not answering", error=type(error).__name__)


def _packing(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """That kind of connection, for which hiredis packs commands.

    As it does for redis-py's connections without asyncio; those with it pack in Python.
    """

    class Packing(kind):  # type: ignore[misc, valid-type]  # Which kind, the URL says.
        def pack_command(self, *args: str | bytes | float) -> list[bytes]:
            packed: list[bytes] = _SERIALIZER.pack(*args)  # type: ignore[arg-type]  # Its own hint.
            return packed

    return Packing
