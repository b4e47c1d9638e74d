"""HTTP to the processes of a local mesh, by the standard library alone.

`sensemesh up` stays for as long as its mesh: what it imports, it holds, and a client that knows
proxies and certificates takes 8 MiB.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status and its whole body."""

    status: int
    body: bytes


async def get(url: str, patience: float) -> Reply:
    """The answer; OSError where there is none, `patience` in seconds without a sign of one."""
    return await asyncio.to_thread(_ask, url, patience, "GET")


async def post(url: str, content: Mapping[str, str], patience: float) -> Reply:
    """The answer to a JSON object; OSError as for `get`."""
    return await asyncio.to_thread(_ask, url, patience, "POST", json.dumps(content))


def _ask(url: str, patience: float, method: str, body: str | None = None) -> Reply:
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=patience)
    try:
        connection.request(method, where.path or "/", body, JSON if body else {})
        answer = connection.getresponse()
        return Reply(answer.status, answer.read())
    except HTTPException as error:
        raise OSError(f"no answer in HTTP: {error!r}") from error
    finally:
        connection.close()
