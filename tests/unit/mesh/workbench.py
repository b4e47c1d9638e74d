"""A Batcher to try things on: real threads, and workers that a test can hold."""

import asyncio
import math
import time
from collections.abc import Awaitable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from mesh.batching import Batcher
from mesh.cores import ALONE, Sharing
from mesh.errors import InvalidInput, MeshError, Overloaded
from mesh.grouping import BatchLimits
from mesh.places import Caller, Place
from tests.fake_models import PATIENCE, Gate


@dataclass(frozen=True)
class Number:
    """An item; the worker gives back its double."""

    value: float
    size: float = 1.0


@dataclass
class Doubler:
    """A worker: doubles, refuses 13, chokes on 666, and dies of infinity."""

    gate: Gate = field(default_factory=Gate)
    batches: list[list[float]] = field(default_factory=list)
    lost: int = 0

    def __call__(self, items: Sequence[Number]) -> Sequence[float]:
        """Double a batch."""
        self.batches.append([item.value for item in items])
        self.gate.pass_through()
        for item in items:
            self._check(item.value)
        return [2 * item.value for item in items[self.lost :]]

    def _check(self, value: float) -> None:
        if value == 13:
            raise InvalidInput("unlucky")
        if value == 666:
            raise RuntimeError("choked")
        if math.isinf(value):
            raise SystemExit(1)


@dataclass
class Notes:
    """An observer that keeps what it is told."""

    batches: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)

    def ran(self, items: int, seconds: float) -> None:
        """Keep a batch."""
        self.batches.append(items)

    def waited(self, seconds: float) -> None:
        """Keep a wait."""
        self.waits.append(seconds)

    def dropped(self, reason: str) -> None:
        """Keep a drop."""
        self.drops.append(reason)


@dataclass
class Bench:
    """A Batcher with one or more Doublers, and what it told."""

    workers: list[Doubler]
    notes: Notes
    batcher: Batcher[Number, float]

    @property
    def worker(self) -> Doubler:
        """The first worker."""
        return self.workers[0]

    async def submit(self, value: float, size: float = 1.0, seconds: float = PATIENCE) -> float:
        """One item, all the way."""
        with self.batcher.reserve([Caller(time.monotonic() + seconds)]) as places:
            if not places:
                raise Overloaded("full")
            self.batcher.submit(places[0], Number(value, size))
            outcome = await places[0].outcome
        if isinstance(outcome, MeshError):
            raise outcome
        return outcome

    def reserve(self, count: int) -> AbstractContextManager[list[Place[Number, float]]]:
        """Places for items that are being preprocessed."""
        return self.batcher.reserve([Caller(time.monotonic() + PATIENCE)] * count)

    def tasks(self, *values: float, size: float = 1.0) -> list[asyncio.Task[float]]:
        """Many items at once."""
        return [asyncio.create_task(self.submit(value, size)) for value in values]

    async def occupy(self) -> asyncio.Task[float]:
        """Hold a worker inside a batch of its own."""
        for worker in self.workers:
            worker.gate.shut()
        [task] = self.tasks(0.5)
        await self.worker.gate.arrival()
        return task

    async def queue(self, *values: float, size: float = 1.0) -> list[asyncio.Task[float]]:
        """Items that wait behind an occupied worker."""
        tasks = self.tasks(*values, size=size)
        await settled()
        return tasks


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def bench(
    workers: int = 1,
    max_items: int = 8,
    max_cost: float = 100.0,
    max_held: int = 64,
    sharing: Sharing = ALONE,
) -> Bench:
    """A Batcher that has not started."""
    doublers, notes = [Doubler() for _ in range(workers)], Notes()
    limits = BatchLimits(max_items, max_cost)
    return Bench(doublers, notes, Batcher(doublers, limits, max_held, notes, sharing))


async def outcomes(tasks: Sequence[Awaitable[float]]) -> list[float | BaseException]:
    """Results and errors, in order."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*tasks, return_exceptions=True)
