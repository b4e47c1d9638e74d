"""Identical work in flight is done once; whoever asks for it meanwhile joins."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeVar

from mesh.errors import DeadlineExpired, MeshError

# Seconds that a value stays here for those who looked for it elsewhere before it landed: longer
# than any look takes.
LINGER: Final = 1.0
# Seconds by which the loop's timers, which count milliseconds, may be early.
EARLY: Final = 0.002

K = TypeVar("K")
V = TypeVar("V")

Work = Callable[[], Coroutine[Any, Any, V]]


class SingleFlight(Generic[K, V]):
    """Joins callers that ask for the same keys at the same time.

    Each caller waits by its own deadline. One that leaves takes nobody with it; the work is
    cancelled when the last has left. A joiner does not inherit the first caller's time-out: where
    the work expired by that, it starts again with the joiner's own.

    Callers look into a cache first, where the work leaves its value. One that looked in vain before
    the value was there, and comes here after the work has landed, still gets that value.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def run(
        self,
        works: Mapping[K, Work[V]],
        looked: float,
        deadline: float,
        ends: Callable[[MeshError], bool],
    ) -> dict[K, V | MeshError]:
        """What became of each key's work: its value or its error, DeadlineExpired at `deadline`.

        They begin in the order of `works`. An error that `ends` them all, or is none of ours, is
        raised at once.
        `looked` is when the caller looked into the cache; both on the clock of time.monotonic().
        """
        waiter = _Waiter(self, works, looked, deadline, ends)
        try:
            return await waiter.wait()
        finally:
            waiter.leave()
            del waiter

    def is_known(self, key: K, looked: float) -> bool:
        """Whether a caller would join others' work, or get what has landed."""
        return self.joinable(key, looked) is not None

    def joinable(self, key: K, looked: float) -> "_Flight[V] | None":
        """The flight that a caller who looked then would join."""
        flight = self._flights.get(key)
        return None if flight is None or flight.landed < looked else flight

    def start(self, key: K, work: Work[V]) -> "_Flight[V]":
        """A new flight."""
        flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        # Before any waiter's own callback, so that none can join a flight that has failed.
        flight.task.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def leave(self, key: K, flight: "_Flight[V]") -> None:
        """One who waited does not any more."""
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


class _Waiter(Generic[K, V]):
    """One caller, who waits for several flights by one future and one timer."""

    def __init__(
        self,
        flights: SingleFlight[K, V],
        works: Mapping[K, Work[V]],
        looked: float,
        deadline: float,
        ends: Callable[[MeshError], bool],
    ) -> None:
        self._flights = flights
        self._works = works
        self._looked = looked
        self._deadline = deadline
        self._ends = ends
        self._on: dict[K, _Flight[V]] = {}
        self._outcomes: dict[K, V | MeshError] = {}
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] | None = loop.create_future()
        self._timer = loop.call_at(deadline, self._expire)

    async def wait(self) -> dict[K, V | MeshError]:
        for key in self._works:
            self._join(key)
        if self._works and self._over:
            await self._over
        return self._outcomes

    def leave(self) -> None:
        self._timer.cancel()
        over, self._over = self._over, None
        if over and not over.cancel() and not over.cancelled():
            over.exception()  # Whoever was cancelled in that moment does not fetch it.
        for key, flight in self._on.items():
            self._flights.leave(key, flight)
        # Flights that go on know this waiter until they land, and works hold what was sent; as does
        # an error's traceback, which would be in a cycle with the waiter by the future.
        self._on, self._works = {}, {}

    def _join(self, key: K) -> None:
        flight = self._flights.joinable(key, self._looked)
        joined = flight is not None
        if flight is None:
            flight = self._flights.start(key, self._works[key])
        flight.waiting += 1
        self._on[key] = flight
        flight.task.add_done_callback(partial(self._arrive, key, joined))

    def _arrive(self, key: K, joined: bool, task: asyncio.Task[V]) -> None:
        if self._over is None or self._over.done():
            return
        if task.cancelled():  # As where the loop ends.
            self._over.cancel()
            return
        error = task.exception()
        if error is None:
            self._settle(key, task.result())
        elif joined and isinstance(error, DeadlineExpired) and not self._is_late():
            self._flights.leave(key, self._on.pop(key))
            self._join(key)
        elif isinstance(error, MeshError) and not self._ends(error):
            self._settle(key, error)
        else:
            self._over.set_exception(error)

    def _settle(self, key: K, outcome: V | MeshError) -> None:
        self._outcomes[key] = outcome
        if self._over and len(self._outcomes) == len(self._works):
            self._over.set_result(None)

    def _expire(self) -> None:
        if self._over and not self._over.done():
            for key in self._works.keys() - self._outcomes.keys():
                self._settle(key, DeadlineExpired("not answered in time"))

    def _is_late(self) -> bool:
        return time.monotonic() >= self._deadline - EARLY
