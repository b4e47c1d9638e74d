"""Whether a process of the mesh says that it is ready."""

import asyncio
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from cli.local_http import get

# A process that takes longer than this to answer, in seconds, is not ready.
PATIENCE: Final = 1.0
PING: Final = b"PING\r\n"
PONG: Final = b"+PONG\r\n"


async def is_ready(url: str) -> bool:
    """Whether an http URL answers 200, or a redis one PONG."""
    probe = _answers_ping if url.startswith("redis") else _answers_ok
    try:
        return await asyncio.wait_for(probe(url), PATIENCE)
    except (OSError, TimeoutError, ValueError):  # The last where an answer is endless, say.
        return False


async def _answers_ok(url: str) -> bool:
    return (await get(url, PATIENCE)).status == HTTPStatus.OK


async def _answers_ping(url: str) -> bool:
    # One line each way, of a server that asks for no password: a client takes 6 MiB to import.
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(PING)
        return await reader.readline() == PONG
    finally:
        writer.close()
