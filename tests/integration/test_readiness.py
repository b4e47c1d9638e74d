"""Probes of what a process says, over real sockets: only the right word means that it is ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cli.machine import free_ports
from cli.readiness import is_ready

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[int]:
    """The port of a process that answers the first line of everybody with this."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(answered, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "ready"), [(OK, True), (BUSY, False), (b"rubbish\r\n", False), (b"", False)]
)
async def test_an_http_process_is_ready_by_200(answer: bytes, ready: bool) -> None:
    """And by nothing else that may come."""
    async with saying(answer) as port:
        assert await is_ready(f"http://127.0.0.1:{port}/readyz") is ready


@pytest.mark.parametrize(
    ("answer", "ready"),
    [(b"+PONG\r\n", True), (b"-LOADING\r\n", False), (b"", False), (70_000 * b"x", False)],
)
async def test_redis_is_ready_by_pong(answer: bytes, ready: bool) -> None:
    """Not while it loads, nor whoever else has its port."""
    async with saying(answer) as port:
        assert await is_ready(f"redis://127.0.0.1:{port}/0") is ready


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/readyz", "redis://127.0.0.1:{}/0"])
async def test_nobody_is_not_ready(url: str) -> None:
    """As before a process listens."""
    assert not await is_ready(url.format(free_ports(1)[0]))
