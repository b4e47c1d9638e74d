"""Many items, few calls: what waits goes out together, and an idle mesh adds no wait.

A remote call costs both sides a fixed amount of work, however many items it carries. So while as
many calls are on their way as there are replicas, new items wait for the first to come back and
then leave in one call. An item that brings some patience waits for others even with no call on its
way. A call that takes much longer than others did, or half a second, stops holding items back: it
may have met an address that hangs, and there may be others that don't.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from mesh.errors import MeshError, Unavailable

# A call holds others back for at most so many times what calls take, and in seconds
PATIENCE: Final = 3.0
# at least, since times that short are chance, and at most.
LEAST_HOLD: Final = 0.05
MOST_HOLD: Final = 0.5
# The weight of the last call in what calls take.
LAST: Final = 0.1
# Calls on their way beyond which full ones wait, too.
FULL_CALLS: Final = 32
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_ITEMS: Final = 64

T = TypeVar("T")
R = TypeVar("R")

# Sends one call; as many outcomes as items, in their order, each a result or its own error.
Send = Callable[[Sequence[T]], Awaitable[Sequence[R | MeshError]]]


class Wait:
    """How long an item waits for others to go with. Lives in one loop."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.until = time.monotonic() + seconds if seconds else 0.0
        self.changed: Callable[[], None] = lambda: None

    def shorten(self, seconds: float) -> None:
        """Wait for no longer than so many seconds from now on."""
        until = time.monotonic() + seconds
        if until < self.until:
            self.until = until
            self.changed()


class Coalescer(Generic[T, R]):
    """Turns submitted items into calls of `send`, at most MAX_BYTES each (a larger item alone).

    `max_items` may be set to how many the other side likes best in one call, and `calls` to how
    many may be on their way before items wait for each other.
    """

    def __init__(self, send: Send[T, R]) -> None:
        self._send = send
        self.calls = 1
        self.max_items = MAX_ITEMS
        # Seconds that calls take, of late.
        self.usual = 0.0
        # In the order in which they came, and their bytes.
        self._waiting: dict[_Pending[T, R], None] = {}
        self._bytes = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._held = 0
        self._wake: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, item: T, size: int, wait: Wait | None = None) -> R:
        """The result for one item of `size` bytes, or its error.

        It may `wait` for others, unless they fill a call or one of them does not wait.
        Cancelling drops the item where it still waits. A call is cancelled only when all whose
        items it carries have left.
        """
        loop = asyncio.get_running_loop()
        wait = wait or Wait()
        wait.changed = self._look
        pending: _Pending[T, R] = _Pending(item, size, wait, loop.create_future())
        self._waiting[pending] = None
        self._bytes += size
        self._look()
        try:
            return await pending.outcome
        finally:
            call, pending.call = pending.call, None
            if call is not None and pending.outcome.cancelled():
                call.leave()
            # An error's traceback holds this frame. With it, and with the call, these would be in
            # cycles, and what was sent would stay until Python looks for such.
            del item, pending, call

    async def close(self) -> None:
        """End the calls in flight; whoever still waits for an item gets Unavailable."""
        self._stop_timer()
        waiting = _Call(list(self._waiting))
        self._remove(waiting.items)
        waiting.deliver([Unavailable("closing")] * len(waiting.items))
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    def _look(self) -> None:
        if self._wake is None:
            # Not at once, so that what arrives in one turn of the loop leaves in one call.
            self._wake = asyncio.get_running_loop().call_soon(self._depart)

    def _depart(self) -> None:
        """Send what may be sent now, and look again when what is left has waited long enough."""
        self._wake = None
        self._stop_timer()
        # Those whose callers have left. What they sent must not stay.
        self._remove([pending for pending in self._waiting if pending.outcome.done()])
        while self._waiting:
            left = self._patience() if self._held < self.calls else math.inf
            if left > 0 and not self._may_go_beyond():
                if left < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(left, self._depart)
                break
            self._begin(_Call(self._take()))

    def _begin(self, call: "_Call[T, R]") -> None:
        self._held += 1
        task = call.task = asyncio.create_task(self._run(call))
        self._calls.add(task)
        task.add_done_callback(partial(self._end, call))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _patience(self) -> float:
        """Seconds for which all that wait would rather wait for others. Something does wait."""
        until = min([pending.wait.until for pending in self._waiting])
        return max(0.0, until - time.monotonic()) if until else 0.0

    def _may_go_beyond(self) -> bool:
        """Whether a further call may be on its way: a full one gains nothing by waiting."""
        full = len(self._waiting) >= self.max_items or self._bytes >= MAX_BYTES
        return full and len(self._calls) < FULL_CALLS

    def _take(self) -> list["_Pending[T, R]"]:
        """What goes into the next call: no more than its share where others may follow at once.

        What has waited to go with others is not shared out.
        """
        free = max(1, self.calls - self._held)
        if free > 1 and any(pending.wait.until for pending in self._waiting):
            free = 1
        most = max(1, min(self.max_items, -(-len(self._waiting) // free)))
        taken: list[_Pending[T, R]] = []
        size = 0
        for pending in self._waiting:
            size += pending.size
            if len(taken) == most or (taken and size > MAX_BYTES):
                break
            taken.append(pending)
        self._remove(taken)
        return taken

    def _remove(self, items: Sequence["_Pending[T, R]"]) -> None:
        for pending in items:
            del self._waiting[pending]
            self._bytes -= pending.size

    async def _run(self, call: "_Call[T, R]") -> None:
        started = time.monotonic()
        longest = min(max(LEAST_HOLD, PATIENCE * self.usual), MOST_HOLD)
        hold = asyncio.get_running_loop().call_later(longest, self._release, call)
        try:
            outcomes = await self._send([pending.item for pending in call.items])
            if not all(isinstance(outcome, MeshError) for outcome in outcomes):
                # One that had met a gap or an address that hangs tells little of the others.
                taken = min(time.monotonic() - started, longest)
                self.usual += LAST * (taken - self.usual)
            call.deliver(outcomes)
        except MeshError as error:
            call.deliver([error] * len(call.items))
        except Exception as error:
            call.deliver([MeshError(f"the call failed: {type(error).__name__}")] * len(call.items))
            raise
        finally:
            hold.cancel()
            del call  # As in `submit`.

    def _end(self, call: "_Call[T, R]", task: "asyncio.Task[None]") -> None:
        """A call is over; one that was cancelled, maybe before it began, has answered nobody."""
        self._calls.discard(task)
        self._release(call)
        call.deliver([Unavailable("closing")] * len(call.items))

    def _release(self, call: "_Call[T, R]") -> None:
        if call.holds:
            call.holds = False
            self._held -= 1
            self._depart()


@dataclass(eq=False, slots=True)
class _Pending(Generic[T, R]):
    item: T
    size: int
    wait: Wait
    outcome: "asyncio.Future[R]"
    call: "_Call[T, R] | None" = None


@dataclass(eq=False, slots=True)
class _Call(Generic[T, R]):
    items: list[_Pending[T, R]]
    task: "asyncio.Task[None] | None" = None
    holds: bool = True

    def __post_init__(self) -> None:
        for pending in self.items:
            pending.call = self

    def leave(self) -> None:
        if self.task is not None and all(pending.outcome.done() for pending in self.items):
            self.task.cancel()

    def deliver(self, outcomes: Sequence[R | MeshError]) -> None:
        for pending, outcome in zip(self.items, outcomes, strict=True):
            if pending.outcome.done():
                continue
            if isinstance(outcome, MeshError):
                pending.outcome.set_exception(outcome)
            else:
                pending.outcome.set_result(outcome)
