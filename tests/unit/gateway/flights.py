"""Work for single flights, and callers who wait for it."""

import asyncio
from typing import Any

from gateway.single_flight import SingleFlight
from mesh.errors import MeshError


class Work:
    """Counts its runs; each waits for the gate."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> str:
        self.runs += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "done"


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def run(
    flights: SingleFlight[str, str], key: str, looked: float, deadline: float, work: Any
) -> str:
    """The value of one key's work, or its error."""
    outcomes = await flights.run({key: work}, looked, deadline, lambda error: False)
    outcome = outcomes[key]
    if isinstance(outcome, MeshError):
        raise outcome
    return outcome


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)
