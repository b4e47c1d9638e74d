"""Identical work in flight is done once; whoever asks for it meanwhile joins."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from mesh.errors import DeadlineExpired

K = TypeVar("K")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Joins callers that ask for the same key at the same time.

    Each caller waits by its own deadline. One that leaves takes nobody with it; the work is
    cancelled when the last has left. A joiner does not inherit the first caller's time-out: where
    the work expired by that, it starts again with the joiner's own.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def run(self, key: K, deadline: float, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The value of `work()`, or its error; DeadlineExpired at `deadline` (the loop's clock)."""
        while True:
            flight = self._flights.get(key)
            if flight is None:
                return await self._wait(key, self._start(key, work), deadline)
            try:
                return await self._wait(key, flight, deadline)
            except DeadlineExpired:
                if asyncio.get_running_loop().time() >= deadline:
                    raise

    def _start(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> "_Flight[V]":
        flight = self._flights[key] = _Flight(asyncio.ensure_future(work()))
        # Before any waiter's own callback, so that none can join a flight that has landed.
        flight.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    async def _wait(self, key: K, flight: "_Flight[V]", deadline: float) -> V:
        flight.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(flight.task)
        except TimeoutError:
            raise DeadlineExpired("not answered in time") from None
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()

    def _forget(self, key: K, flight: "_Flight[V]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Generic[V]):
    """One piece of work and the count of those who wait for it."""

    def __init__(self, task: asyncio.Task[V]) -> None:
        self.task = task
        self.waiting = 0
