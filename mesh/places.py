"""The places of a Batcher: each is for one item, from before it is preprocessed to its outcome.

An item is coming first, then it waits, then a worker has it. It may be dropped before that, when
its time is over or its caller leaves. All of this lives on the event loop.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import structlog

from mesh.errors import DeadlineExpired, MeshError

log = structlog.stdlib.get_logger(__name__)


class Sized(Protocol):
    """Whatever is batched."""

    @property
    def size(self) -> float:
        """The cost of the item by itself, in any unit."""


class Observer(Protocol):
    """What a Batcher tells about its work."""

    def ran(self, items: int, seconds: float) -> None:
        """A batch went through a worker."""

    def waited(self, seconds: float) -> None:
        """An item left the queue for a worker."""

    def dropped(self, reason: str) -> None:
        """An item won't reach a worker: "cancelled", "expired", "overloaded" or "closed"."""


I = TypeVar("I", bound=Sized)  # noqa: E741  The letter that the field uses.
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who wants a result until `deadline`, on the clock of `time.monotonic()`."""

    deadline: float
    # So that a line about its item bears its request id.
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


@dataclass(eq=False, slots=True)
class Place(Generic[I, R]):
    """One item's place; `item` is None while it is coming, and `since` when it came."""

    caller: Caller
    item: I | None = None
    size: float = 0.0
    since: float = 0.0
    timer: asyncio.Handle | None = None
    # Holds errors as results: a future's exception that nobody fetches would be logged as a leak.
    outcome: asyncio.Future[R | MeshError] = field(default_factory=asyncio.Future)


class Places(Generic[I, R]):
    """All places that are held. Tells an Observer of every item how it left the queue."""

    def __init__(self, observer: Observer, changed: Callable[[], None]) -> None:
        """`changed` is called when an item has come, or a place is free."""
        self._observer = observer
        self._changed = changed
        self._held: set[Place[I, R]] = set()
        self._waiting: dict[Place[I, R], None] = {}  # From its middle, too, items leave quickly.
        self.coming = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many items wait for a worker."""
        return len(self._waiting)

    def give(self, caller: Caller) -> Place[I, R]:
        """A new place for an item that is coming; at its deadline it is given up."""
        place: Place[I, R] = Place(caller)
        place.timer = asyncio.get_running_loop().call_at(caller.deadline, self.expire, place)
        self._held.add(place)
        self.coming += 1
        return place

    def submit(self, place: Place[I, R], item: I) -> None:
        """Let an item wait for a worker, unless its place was given up meanwhile."""
        if place not in self._held:
            return
        place.item, place.size, place.since = item, item.size, time.monotonic()
        self.coming -= 1
        self._waiting[place] = None
        self._changed()

    def settle(self, place: Place[I, R], outcome: R | MeshError) -> None:
        """Answer the caller, unless it was answered or has left, and free the place."""
        if place in self._held:
            self._free(place)
            if not place.outcome.done():  # As it is where a caller is just leaving.
                place.outcome.set_result(outcome)

    def fail(self, place: Place[I, R], error: BaseException) -> None:
        """Answer with what the model threw; what is none of our errors is for the log alone."""
        if not isinstance(error, MeshError):
            place.caller.context.run(log.error, "item_failed", exc_info=error)
            error = MeshError("the model failed on this item")
        self.settle(place, error)

    def expire(self, place: Place[I, R]) -> None:
        """Answer that its time is over; no worker gets it any more."""
        late = "was preprocessed" if place.item is None else "had the model's answer"
        self._give_up(place, "expired", DeadlineExpired(f"its time was over before it {late}"))

    def leave(self, place: Place[I, R]) -> None:
        """Let a caller go, who has the outcome or does not want it any more."""
        place.outcome.cancel()
        self._give_up(place, "cancelled", DeadlineExpired("nobody waits for it"))

    def close(self, error: MeshError) -> None:
        """Answer all that are left with an error."""
        for place in list(self._held):
            self._give_up(place, "closed", error)

    def unexpired(self) -> list[Place[I, R]]:
        """All that wait, oldest first, less those whose timers are due but have not run yet."""
        now = time.monotonic()
        for place in [place for place in self._waiting if place.caller.deadline <= now]:
            self.expire(place)
        return list(self._waiting)

    def take(self, places: Sequence[Place[I, R]]) -> None:
        """Let some that wait have a worker."""
        now = time.monotonic()
        for place in places:
            del self._waiting[place]
            self._observer.waited(now - place.since)

    def _give_up(self, place: Place[I, R], reason: str, error: MeshError) -> None:
        if place in self._held and (place.item is None or place in self._waiting):
            self._observer.dropped(reason)
        self.settle(place, error)

    def _free(self, place: Place[I, R]) -> None:
        self._held.discard(place)
        self._waiting.pop(place, None)
        self.coming -= place.item is None
        if place.timer:
            place.timer.cancel()
        self._changed()
