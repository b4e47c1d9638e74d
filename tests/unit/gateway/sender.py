"""What tests of the Coalescer send by, and the steps that they have in common."""

import asyncio
from collections.abc import Sequence

from gateway.coalescing import Coalescer
from mesh.errors import InvalidInput, MeshError


class Sender:
    """Answers each item in upper case once the gate opens; "bad" ones with an error."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.cancelled = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.called = asyncio.Event()

    async def __call__(self, items: Sequence[str]) -> list[str | MeshError]:
        self.calls.append(list(items))
        self.called.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return [InvalidInput("bad") if item == "bad" else item.upper() for item in items]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def submit(coalescer: Coalescer[str, str], items: Sequence[str], size: int = 1):
    return [asyncio.ensure_future(coalescer.submit(item, size)) for item in items]


async def fill(coalescer: Coalescer[str, str]):
    """Occupy every call, one turn of the loop after the other."""
    tasks = []
    for index in range(coalescer.calls):
        tasks += submit(coalescer, [f"first{index}"])
        await settle()
    return tasks
