"""What is on its way to Redis: written together some moments later, and found until it is there."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from gateway.metrics import GatewayMetrics

WRITE_TIMEOUT: Final = 1.0
# Seconds for which entries wait for others; the answer that they come from leaves meanwhile.
WRITE_PAUSE: Final = 0.005
# Puts that may wait for a slow Redis; beyond it they are dropped and counted.
MAX_WRITES: Final = 256
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

log = structlog.get_logger(__name__)

Entries = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody's word that they are at what `key` names; `token` tells them apart."""

    key: str
    token: str


@dataclass(frozen=True, slots=True)
class _Put:
    """Entries on their way to Redis, and the claim that ends when they are there."""

    entries: Entries
    done: Claim | None


class Writing:
    """Writes in the background. Used in one loop, `at_hand` anywhere."""

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        ttl: float,
        metrics: GatewayMetrics,
        written: Callable[[Entries, bool], None],
    ) -> None:
        """Entries live for `ttl` seconds; `written` hears of those that were written, or were not.

        It is called before they are at hand no more.
        """
        self._client = client
        self._ttl = ttl
        self._metrics = metrics
        self._written = written
        self._unwritten: list[_Put] = []
        # The entries of those, and of what is just being written.
        self._entries: dict[str, bytes] = {}
        self._task: asyncio.Task[None] | None = None
        self._finishing = False

    def at_hand(self, key: str) -> bytes | None:
        """What lies under a key of those that are on their way. Callable from any thread."""
        return self._entries.get(key)

    def put(self, entries: Entries, done: Claim | None) -> bool:
        """Write entries soon, then end the claim. False where too much waits, or it finishes."""
        if self._finishing:
            return False
        if len(self._unwritten) >= MAX_WRITES:
            self._metrics.cache_errors.labels("write_dropped").inc()
            return False
        self._unwritten.append(_Put(dict(entries), done))
        self._entries |= entries
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())
        return True

    async def finish(self) -> None:
        """Take no more, and return when nothing waits."""
        self._finishing = True
        if self._task is not None:
            await self._task

    async def _write_all(self) -> None:
        """Write until nothing is left; what comes meanwhile goes together."""
        while self._unwritten:
            await asyncio.sleep(WRITE_PAUSE)
            puts, self._unwritten = self._unwritten, []
            entries = [entry for put in puts for entry in put.entries.items()]
            is_written = False
            try:
                await self._write(entries, [put.done for put in puts if put.done])
                is_written = True
            except Exception as error:
                self._metrics.cache_errors.labels("write").inc(len(puts))
                if not isinstance(error, (RedisError, OSError, TimeoutError)):
                    log.exception("redis was not written to")
            finally:
                self._written(dict(entries), is_written)
                self._forget(entries)

    def _forget(self, entries: Sequence[tuple[str, bytes]]) -> None:
        for key, value in entries:
            # Not what somebody has put there since.
            if self._entries.get(key) is value:
                del self._entries[key]

    async def _write(self, entries: Sequence[tuple[str, bytes]], over: Sequence[Claim]) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT):
            keys = [*[key for key, _ in entries], *[claim.key for claim in over]]
            args: list[str | bytes | int] = [len(entries)]
            for _, value in entries:
                args += value, self._lifetime_ms()
            args += [claim.token for claim in over]
            await self._client.eval(WRITE, len(keys), *keys, *args)

    def _lifetime_ms(self) -> int:
        # Not a secret: it only spreads the ends of the entries.
        return int(1000 * self._ttl * (1 + random.random() * TTL_JITTER))
