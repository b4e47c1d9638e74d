"""The Batcher: single items in, batches to whichever worker is free, each item's own result out.

    with batcher.reserve() as submit:           # Overloaded at once where the node is full
        item = await preprocess(raw)
        return await submit(item, deadline)     # its result, or a MeshError of its own

A batch is made only when a worker is free, of what waits at that moment: an idle node adds no
delay, and a busy one makes larger batches by itself. All state lives on the event loop. A worker
is a plain function, one for each device, and runs on a thread of its own: the model must not
block the loop.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import structlog

from mesh.errors import DeadlineExpired, MeshError, Overloaded, Unavailable
from mesh.grouping import BatchLimits, choose

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

Worker = Callable[[Sequence[I]], Sequence[R]]
Submit = Callable[[I, float], Coroutine[Any, Any, R]]


@dataclass(eq=False, slots=True)
class _Entry(Generic[I, R]):
    """One submitted item; its times are on the clock of `time.monotonic()`."""

    item: I
    size: float
    deadline: float
    since: float = field(default_factory=time.monotonic)
    # Holds errors as results: a future's exception that nobody fetches would be logged as a leak.
    outcome: asyncio.Future[R | MeshError] = field(default_factory=asyncio.Future)
    # The caller's, so that a line about its item bears its request id.
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def settle(self, outcome: R | MeshError) -> None:
        """Answer the caller, unless it was answered or has left."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        """Answer with what the model threw; what is none of our errors is for the log alone."""
        if not isinstance(error, MeshError):
            self.context.run(log.error, "item_failed", exc_info=error)
            error = MeshError("the model failed on this item")
        self.settle(error)


class Batcher(Generic[I, R]):
    """Owns the queue and the workers' threads. `start` it on the loop that will submit."""

    def __init__(
        self,
        workers: Sequence[Worker[I, R]],
        limits: BatchLimits,
        max_held: int,
        observer: Observer,
    ) -> None:
        """`max_held`: how many items may be between `reserve` and their results at a time."""
        self._workers = workers
        self._limits = limits
        self._max_held = max_held
        self._observer = observer
        self._held = 0
        self._closing = False
        self._changed = asyncio.Event()
        self._waiting: dict[_Entry[I, R], None] = {}  # A queue whose items can leave early.
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to run batches."""
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in self._workers]

    async def close(self, grace: float) -> None:
        """Refuse new items, finish those that hold a place, and end the workers.

        What is not done after `grace` seconds is answered with Unavailable.
        """
        self._closing = True
        self._changed.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for entry in list(self._waiting):
            self._leave(entry, "closed")
            entry.settle(Unavailable("this node stopped before the model was free"))

    @contextmanager
    def reserve(self) -> Iterator[Submit[I, R]]:
        """Hold a place from before preprocessing until the result, and get `submit` for it.

        Raises Overloaded where no place is free, and Unavailable once the Batcher is closing.
        `submit(item, deadline)`, on the clock of `time.monotonic()`, raises DeadlineExpired where
        no worker took the item in time, or the MeshError that became of the item itself.
        """
        self._check_open()
        self._held += 1
        try:
            yield self._submit
        finally:
            self._held -= 1
            self._changed.set()

    def _check_open(self) -> None:
        if self._closing:
            self._observer.dropped("closed")
            raise Unavailable("this node is stopping")
        if self._held >= self._max_held:
            self._observer.dropped("overloaded")
            raise Overloaded("this node's queue is full")

    async def _submit(self, item: I, deadline: float) -> R:
        entry: _Entry[I, R] = _Entry(item, item.size, deadline)
        self._waiting[entry] = None
        self._changed.set()
        expiry = asyncio.get_running_loop().call_at(deadline, self._expire, entry)
        try:
            outcome = await entry.outcome
        finally:
            expiry.cancel()
            self._leave(entry, "cancelled")  # No-op unless it still waits.
        if isinstance(outcome, MeshError):
            raise outcome
        return outcome

    def _expire(self, entry: _Entry[I, R]) -> None:
        self._leave(entry, "expired")
        entry.settle(DeadlineExpired("its time was over before the model was free"))

    def _leave(self, entry: _Entry[I, R], reason: str) -> None:
        if entry in self._waiting:
            del self._waiting[entry]
            self._observer.dropped(reason)

    async def _work(self, worker: Worker[I, R]) -> None:
        """The life of one worker: batch after batch until the Batcher closes."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        try:
            while batch := await self._next_batch():
                await self._run(batch, worker, thread)
        finally:
            thread.shutdown(wait=False)

    async def _next_batch(self) -> list[_Entry[I, R]]:
        """Wait for items; an empty batch once the Batcher closes and nobody holds a place."""
        while not (waiting := self._unexpired()):
            if self._closing and not self._held:
                return []
            self._changed.clear()
            await self._changed.wait()
        batch = [waiting[index] for index in choose([e.size for e in waiting], self._limits)]
        for entry in batch:
            del self._waiting[entry]
            self._observer.waited(time.monotonic() - entry.since)
        return batch

    def _unexpired(self) -> list[_Entry[I, R]]:
        """The queue, oldest first, less the items whose timers are due but have not run yet."""
        now = time.monotonic()
        for entry in [entry for entry in self._waiting if entry.deadline <= now]:
            self._expire(entry)
        return list(self._waiting)

    async def _run(
        self, batch: list[_Entry[I, R]], worker: Worker[I, R], thread: ThreadPoolExecutor
    ) -> None:
        """Run a batch; where it fails, its items one by one, so that only the broken ones fail."""
        run = partial(self._run_once, worker, thread)
        try:
            if (error := await run(batch)) and len(batch) == 1:
                batch[0].fail(error)
            elif error:
                log.warning("batch_failed", items=len(batch), exc_info=error)
                for entry in batch:
                    if self._still_wanted(entry) and (error := await run([entry])):
                        entry.fail(error)
        except Exception:
            log.exception("batch_lost")  # The worker goes on.
        finally:
            for entry in batch:  # Whatever happened, nobody is left waiting.
                entry.settle(Unavailable("this node stopped before the model was done"))

    async def _run_once(
        self, worker: Worker[I, R], thread: ThreadPoolExecutor, batch: list[_Entry[I, R]]
    ) -> BaseException | None:
        """Answer a batch's callers, or give the error that all of them failed with."""
        started = time.monotonic()
        loop, items = asyncio.get_running_loop(), [entry.item for entry in batch]
        results = await loop.run_in_executor(thread, _results_or_error, worker, items)
        self._observer.ran(len(batch), time.monotonic() - started)
        if isinstance(results, BaseException):
            return results
        for entry, result in zip(batch, results, strict=True):
            entry.settle(result)
        return None

    def _still_wanted(self, entry: _Entry[I, R]) -> bool:
        """Whether its caller waits and it is in time, also where its timer has not run yet."""
        if entry.deadline <= time.monotonic():
            self._expire(entry)
        return not entry.outcome.done()


def _results_or_error(worker: Worker[I, R], items: Sequence[I]) -> Sequence[R] | BaseException:
    """Run a batch on a thread. Never raises: even a model's SystemExit must not end the worker."""
    try:
        results = worker(items)
        if len(results) != len(items):
            raise MeshError(f"the model gave {len(results)} results for {len(items)} items")
    except BaseException as error:
        return error
    return results
