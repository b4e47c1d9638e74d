"""Two levels of one mapping from keys to bytes: this process's own memory, then Redis.

Memory takes what somebody asked for again: most of what is put never is, and would drive out what
is. Redis has the rest, and what Redis does not take stays in memory, too.

A look-up costs one MGET at most. Those that come while Redis is at another share one, and so do
writes: what is sent costs more than what is in it. Redis that is down, slow or wrong costs hits and
never answers: a look-up gives up after `READ_TIMEOUT` seconds, and after `PATIENCE` failures in a
row Redis is left alone for `PAUSE` seconds.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, TypeVar

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.coalescing import Coalescer
from gateway.local_store import LocalStore
from gateway.metrics import GatewayMetrics
from mesh.settings import GatewaySettings

# Seconds that a look-up takes at most, and the one round trip that it may share with others.
READ_TIMEOUT: Final = 0.02
MGET_TIMEOUT: Final = 0.9 * READ_TIMEOUT
WRITE_TIMEOUT: Final = 1.0
# Seconds for which entries wait for others; the answer that they come from leaves meanwhile.
WRITE_PAUSE: Final = 0.005
PATIENCE: Final = 3
PAUSE: Final = 0.5
# Puts that may wait for a slow Redis; beyond it they are dropped and counted.
MAX_WRITES: Final = 256
MAX_CONNECTIONS: Final = 32
# Entries live up to a tenth longer than told, so that those written together don't end together.
TTL_JITTER: Final = 0.1

# Entries with their milliseconds, then the ends of claims, but of nobody else's where one's own has
# run out meanwhile. One command, since each costs its sender more than what is in it. Claims also
# end where there is no room for entries, which is the answer then.
WRITE: Final = """
local entries, failed = tonumber(ARGV[1]), nil
for i = 1, entries do
    local done = redis.pcall("SET", KEYS[i], ARGV[2 * i], "PX", ARGV[2 * i + 1])
    if done.err then failed = done end
end
for i = entries + 1, #KEYS do
    if redis.call("GET", KEYS[i]) == ARGV[entries + i + 1] then redis.call("DEL", KEYS[i]) end
end
return failed
"""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody's word that they are at what `key` names; `token` tells them apart."""

    key: str
    token: str


@dataclass(frozen=True, slots=True)
class _Put:
    """Entries on their way to Redis, and the claim that ends when they are there."""

    entries: Mapping[str, bytes]
    done: Claim | None


class Store:
    """Two levels of one mapping from keys to bytes. Used in one loop, `at_hand` anywhere."""

    def __init__(
        self, client: "redis.asyncio.Redis", settings: GatewaySettings, metrics: GatewayMetrics
    ):
        self._redis = client
        # As a rule there is one look-up at a time, and one write. To take a connection from the
        # pool for each would cost nearly as much as to send it.
        self._reader, self._writer = client.client(), client.client()
        self._ttl = settings.cache_ttl
        self._local = LocalStore(settings.cache_lru_bytes)
        self._metrics = metrics
        self._reads: Coalescer[Sequence[str], dict[str, bytes]] = Coalescer(self._read)
        self._unwritten: list[_Put] = []
        # The entries of those, and of what is just being written: nobody is to miss them meanwhile.
        self._on_their_way: dict[str, bytes] = {}
        self._writing: asyncio.Task[None] | None = None
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
            # Once more on a fresh connection: the pooled one may be from before Redis restarted.
            retry=Retry(NoBackoff(), 1),
        )
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
        value = self._local.get(key)
        return self._on_their_way.get(key) if value is None else value

    async def peek(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """What Redis has of `keys`, whatever memory says; None where it does not answer."""
        return await self._ask(partial(self._mget, self._redis, keys), READ_TIMEOUT)

    async def claim(self, claim: Claim, seconds: float, patience: float) -> bool | None:
        """Hold a key for `seconds`. False where somebody does; None where Redis does not answer."""
        return await self._ask(partial(self._set_new, claim, seconds), min(patience, READ_TIMEOUT))

    def put(self, entries: Mapping[str, bytes], done: Claim | None = None) -> None:
        """Keep entries, to be found from now on. The claim, if any, ends when Redis has them."""
        resting = self._resting()
        if resting or len(self._unwritten) >= MAX_WRITES:
            if not resting:
                self._metrics.cache_errors.labels("write_dropped").inc()
            self._remember(entries)
            return
        self._unwritten.append(_Put(dict(entries), done))
        self._on_their_way |= entries
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write_all())

    async def close(self) -> None:
        """Finish the writes that wait, then close the connections."""
        if self._writing is not None:
            await self._writing
        await self._reads.close()
        for client in (self._reader, self._writer, self._redis):
            await client.aclose()

    async def _fetch(self, keys: list[str]) -> dict[str, bytes]:
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                found = await self._reads.submit(keys, sum(map(len, keys)))
        except TimeoutError:  # It waited for others' look-ups, too; theirs tell of Redis.
            self._metrics.cache_errors.labels("read").inc()
            return {}
        self._remember(found)
        return found

    def _remember(self, entries: Mapping[str, bytes]) -> None:
        for key, value in entries.items():
            self._local.put(key, value)

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
        except (RedisError, OSError, TimeoutError) as error:
            # What had only the rest of another question's time tells nothing of Redis.
            if patience >= MGET_TIMEOUT or not isinstance(error, TimeoutError):
                self._read_failed(error)
            return None
        self._failures = 0
        return answer

    async def _write_all(self) -> None:
        """Write until nothing is left; what comes meanwhile goes together."""
        while self._unwritten:
            await asyncio.sleep(WRITE_PAUSE)
            puts, self._unwritten = self._unwritten, []
            entries = [entry for put in puts for entry in put.entries.items()]
            try:
                await self._write(entries, [put.done for put in puts if put.done])
            except Exception as error:
                self._metrics.cache_errors.labels("write").inc(len(puts))
                self._remember(dict(entries))
                if not isinstance(error, (RedisError, OSError, TimeoutError)):
                    log.exception("redis was not written to")
            finally:
                self._forget(entries)

    def _forget(self, entries: Sequence[tuple[str, bytes]]) -> None:
        for key, value in entries:
            # Not what somebody has put there since.
            if self._on_their_way.get(key) is value:
                del self._on_their_way[key]

    async def _write(self, entries: Sequence[tuple[str, bytes]], over: Sequence[Claim]) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT):
            keys = [*[key for key, _ in entries], *[claim.key for claim in over]]
            args: list[str | bytes | int] = [len(entries)]
            for _, value in entries:
                args += value, self._lifetime_ms()
            args += [claim.token for claim in over]
            await self._writer.eval(WRITE, len(keys), *keys, *args)

    def _lifetime_ms(self) -> int:
        # Not a secret: it only spreads the ends of the entries.
        return int(1000 * self._ttl * (1 + random.random() * TTL_JITTER))

    def _resting(self) -> bool:
        return time.monotonic() < self._paused_until

    def _read_failed(self, error: Exception) -> None:
        self._metrics.cache_errors.labels("read").inc()
        self._failures += 1
        if self._failures % PATIENCE == 0:
            self._paused_until = time.monotonic() + PAUSE
        if self._failures == PATIENCE:
            log.warning("redis is not answering", error=type(error).__name__)
