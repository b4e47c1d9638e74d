"""A Redis for the store that fails as it is told, and stores over it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError

from gateway.metrics import GatewayMetrics
from gateway.store import Store
from gateway.writing import WRITE
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
        assert script == WRITE
        self.writes += 1
        await self._answer()
        names, (count, *pairs) = rest[:keys], rest[keys:]
        self.entries |= dict(zip(names[:count], pairs[::2], strict=False))
        self.lifetimes_ms += pairs[1 : 2 * count : 2]

    async def aclose(self) -> None:
        return None

    async def refuse(self, *_: Any) -> None:
        """In place of a command that this client may not use."""
        raise NoPermissionError("NOPERM")

    async def _answer(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


def open_store(redis: FakeRedis, metrics: GatewayMetrics, lru_bytes: int = 0) -> Store:
    settings = GatewaySettings(cache_lru_bytes=lru_bytes, cache_ttl=100)
    return Store(redis, settings, metrics)


def errors(metrics: GatewayMetrics, operation: str) -> float | None:
    return metrics.registry.get_sample_value("mesh_cache_errors_total", {"operation": operation})
