"""Whether a process of the mesh says that it is ready."""

import asyncio
from collections.abc import Callable, Coroutine

import httpx
import redis.asyncio
from redis.exceptions import RedisError

# A process that takes longer than this to answer, in seconds, is not ready.
PATIENCE = 1.0


async def is_ready(url: str) -> bool:
    """Whether an http URL answers 200, or a redis one PONG."""
    probe: Callable[[str], Coroutine[None, None, bool]]
    probe = _answers_ping if url.startswith("redis") else _answers_ok
    try:
        return await asyncio.wait_for(probe(url), PATIENCE)
    except (httpx.HTTPError, RedisError, OSError, TimeoutError):
        return False


async def _answers_ok(url: str) -> bool:
    # A proxy in the environment is for the world outside, not for this machine; nor is there a
    # certificate to verify, and those of the authorities take 20 ms to load.
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return (await client.get(url)).status_code == httpx.codes.OK


async def _answers_ping(url: str) -> bool:
    async with redis.asyncio.from_url(url) as client:
        return bool(await client.ping())
