"""Commands for Redis, packed by hiredis."""

from typing import Any

import pytest
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import DataError

from gateway.store import _packing

KINDS = [Connection, SSLConnection, UnixDomainSocketConnection]
COMMANDS: list[tuple[Any, ...]] = [
    ("CLIENT SETINFO", "LIB-NAME", "redis-py"),
    ("HELLO", 3, "AUTH", "default", "pässword"),
    ("MGET", "a", "b"),
    ("SET", "key", b"\x00\r\n\xff", "PX", 1500, "NX"),
    ("EVAL", "return 1", 2, "k", "l", 1.5, b""),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_what_goes_over_the_wire_is_what_redis_py_would_send(
    kind: type[AbstractConnection], command: tuple[Any, ...]
) -> None:
    """Whichever way there is to Redis."""
    assert b"".join(_packing(kind)().pack_command(*command)) == b"".join(
        kind().pack_command(*command)
    )


def test_what_is_no_argument_is_an_error_of_redis() -> None:
    """Which costs a hit, and not the answer."""
    with pytest.raises(DataError):
        _packing(Connection)().pack_command("SET", "key", None)  # type: ignore[arg-type]
