"""Identical work in flight is done once; whoever asks for it meanwhile joins."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from mesh.errors import DeadlineExpired

# Seconds that a value stays here for those who looked for it elsewhere before it landed: longer
# than any look takes.
LINGER: Final = 1.0
# Seconds by which the loop's timers, which count milliseconds, may be early.
EARLY: Final = 0.002

K = TypeVar("K")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Joins callers that ask for the same key at the same time.

    Each caller waits by its own deadline. One that leaves takes nobody with it; the work is
    cancelled when the last has left. A joiner does not inherit the first caller's time-out: where
    the work expired by that, it starts again with the joiner's own.

    Callers look into a cache first, where the work leaves its value. One that looked in vain before
    the value was there, and comes here after the work has landed, still gets that value.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def run(
        self, key: K, looked: float, deadline: float, work: Callable[[], Coroutine[Any, Any, V]]
    ) -> V:
        """The value of `work()`, or its error; DeadlineExpired at `deadline`.

        `looked` is when the caller looked into the cache; both on the clock of time.monotonic().
        """
        while True:
            flight = self._joinable(key, looked)
            if flight is None:
                return await self._wait(key, self._start(key, work), deadline)
            try:
                return await self._wait(key, flight, deadline)
            except DeadlineExpired:
                if time.monotonic() >= deadline - EARLY:
                    raise

    def is_known(self, key: K, looked: float) -> bool:
        """Whether a caller would join others' work, or get what has landed."""
        return self._joinable(key, looked) is not None

    def _joinable(self, key: K, looked: float) -> "_Flight[V] | None":
        flight = self._flights.get(key)
        return None if flight is None or flight.landed < looked else flight

    def _start(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> "_Flight[V]":
        flight = self._flights[key] = _Flight(asyncio.ensure_future(work()))
        # Before any waiter's own callback, so that none can join a flight that has failed.
        flight.task.add_done_callback(lambda _: self._land(key, flight))
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

    def _land(self, key: K, flight: "_Flight[V]") -> None:
        if flight.task.cancelled() or flight.task.exception():
            self._forget(key, flight)
        else:
            flight.landed = time.monotonic()
            asyncio.get_running_loop().call_later(LINGER, self._forget, key, flight)

    def _forget(self, key: K, flight: "_Flight[V]") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Generic[V]):
    """One piece of work, the count of those who wait for it, and when its value was there."""

    def __init__(self, task: asyncio.Task[V]) -> None:
        self.task = task
        self.waiting = 0
        self.landed = math.inf
