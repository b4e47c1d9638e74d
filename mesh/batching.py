"""The Batcher: items in, batches to whichever worker is free, each item's own outcome out.

    with batcher.reserve(callers) as places:    # fewer of them where the node is nearly full
        for place, raw in zip(places, raws):
            batcher.submit(place, await preprocess(raw))
        return [await place.outcome for place in places]    # each a result, or a MeshError

A batch is made only when a worker is free, of what waits at that moment: an idle node adds no
delay, and a busy one makes larger batches by itself. Where preprocessing and the model share the
cores, a worker that began with the first item would only delay the others: there a batch waits a
little for those that are being preprocessed, as long as it can grow. And while a batch runs there,
another one waits for an idle core or until it is full: begun before, both would only get half of
one; and workers beyond the first stay away until they are needed (mesh.spares). All state lives on
the event loop. A worker is a plain function, and runs on a thread of its own: the model must not
block the loop.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Generic

import structlog

from mesh.cores import ALONE, LOOK_AGAIN, Sharing, roam
from mesh.errors import MeshError, Unavailable
from mesh.grouping import BatchLimits, choose
from mesh.places import Caller, I, Observer, Place, Places, R
from mesh.spares import Spares
from mesh.threads import Thread

log = structlog.stdlib.get_logger(__name__)

Worker = Callable[[Sequence[I]], Sequence[R]]


class Batcher(Generic[I, R]):
    """Owns the queue and the workers' threads. `start` it on the loop that will submit."""

    def __init__(
        self,
        workers: Sequence[Worker[I, R]],
        limits: BatchLimits,
        max_held: int,
        observer: Observer,
        sharing: Sharing = ALONE,
    ) -> None:
        """`max_held`: how many items may be between `reserve` and their results at a time."""
        self._workers = workers
        self._limits = limits
        self._max_held = max_held
        self._observer = observer
        self._sharing = sharing
        self._running = 0
        # Of idle workers one watches what happens; the others wait until it has a batch.
        self._next = asyncio.Lock()
        self._closing = False
        self._changed = asyncio.Event()
        self._spares = Spares(self._holds_up, self._could_begin)
        self._places: Places[I, R] = Places(observer, self._changed.set)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to run batches.

        All threads are there when this returns. The first is at home where the process is; the
        others have idle cores to look for.
        """
        threads = [Thread("engine") for _ in self._workers]
        for thread in threads[1:]:
            roam(thread.native_id)
        works = map(self._work, self._workers, threads, count())
        self._tasks = [asyncio.create_task(work) for work in works]

    async def close(self, grace: float) -> None:
        """Refuse new items, finish those that hold a place, and end the workers.

        What is not done after `grace` seconds is answered with Unavailable.
        """
        self._closing = True
        self._changed.set()
        self._spares.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._places.close(Unavailable("this node stopped before the model was free"))

    @contextmanager
    def reserve(self, callers: Sequence[Caller]) -> Iterator[list[Place[I, R]]]:
        """Hold places from before preprocessing: for the first callers, where few are free.

        Raises Unavailable once the Batcher is closing.
        """
        if self._closing:
            self._drop("closed", len(callers))
            raise Unavailable("this node is stopping")
        free = max(0, self._max_held - len(self._places))
        self._drop("overloaded", len(callers[free:]))
        places = [self._places.give(caller) for caller in callers[:free]]
        try:
            yield places
        finally:
            for place in places:
                self._places.leave(place)

    def submit(self, place: Place[I, R], item: I | MeshError) -> None:
        """Give a place its item, or the error that became of it."""
        if isinstance(item, MeshError):
            self._places.settle(place, item)
        else:
            self._places.submit(place, item)
            self._look()

    def _drop(self, reason: str, items: int) -> None:
        for _ in range(items):
            self._observer.dropped(reason)

    def _look(self) -> None:
        """Let a spare worker see that items wait; there is nothing to see otherwise."""
        if self._holds_up():
            self._spares.look()

    def _holds_up(self) -> bool:
        return self._running > 0 and self._places.waiting > 0

    def _could_begin(self) -> bool:
        """Whether another worker would find a batch and an idle core now."""
        return bool(self._places.unexpired()) and not self._sharing.crowded()

    def _is_full(self, waiting: Sequence[Place[I, R]]) -> bool:
        return not self._limits.allow(len(waiting) + 1, waiting[0].size)

    async def _work(self, worker: Worker[I, R], thread: Thread, index: int) -> None:
        """The life of one worker: batch after batch until the Batcher closes."""
        try:
            if index > 0 and self._sharing.spare:
                if not await self._spares.needed():
                    return
                await self._prepare(worker, thread)
                log.info("spare_worker_begins", worker=index)
            while batch := await self._next_batch():
                self._running += 1
                self._look()
                try:
                    await self._run(batch, worker, thread)
                finally:
                    self._running -= 1
        finally:
            thread.close()

    async def _prepare(self, worker: Worker[I, R], thread: Thread) -> None:
        """Let a spare worker compute what waits, to no end but its own: nobody waits for that.

        Its model may have to be compiled first, and takes its memory now.
        """
        waiting = self._places.unexpired()
        batch = [waiting[index] for index in choose([p.size for p in waiting], self._limits)]
        items = [place.item for place in batch if place.item is not None]
        if items:
            await thread.run(_results_or_error, worker, items)

    async def _next_batch(self) -> list[Place[I, R]]:
        """Wait for items; an empty batch once the Batcher closes and nobody holds a place."""
        async with self._next:
            while (pause := self._pause(waiting := self._places.unexpired())) != 0:
                if self._closing and not self._places:
                    return []
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
            batch = [waiting[index] for index in choose([p.size for p in waiting], self._limits)]
            self._places.take(batch)
            return batch

    def _pause(self, waiting: Sequence[Place[I, R]]) -> float | None:
        """Seconds for which a batch of these would rather wait for others; None without any."""
        if not waiting:
            return None
        if self._is_full(waiting):
            return 0
        if self._running and self._sharing.crowded():
            return LOOK_AGAIN
        if not self._places.coming:
            return 0
        patience = self._sharing.patience
        until = min(waiting[0].since, *(p.caller.deadline - 2 * patience for p in waiting))
        return max(0.0, until + patience - time.monotonic())

    async def _run(self, batch: list[Place[I, R]], worker: Worker[I, R], thread: Thread) -> None:
        """Run a batch; where it fails, its items one by one, so that only the broken ones fail."""
        run = partial(self._run_once, worker, thread)
        try:
            if (error := await run(batch)) and len(batch) == 1:
                self._places.fail(batch[0], error)
            elif error:
                log.warning("batch_failed", items=len(batch), exc_info=error)
                for place in batch:
                    if self._still_wanted(place) and (error := await run([place])):
                        self._places.fail(place, error)
        except Exception:
            log.exception("batch_lost")  # The worker goes on.
        finally:
            for place in batch:  # Whatever happened, nobody is left waiting.
                stopped = Unavailable("this node stopped before the model was done")
                self._places.settle(place, stopped)

    async def _run_once(
        self, worker: Worker[I, R], thread: Thread, batch: list[Place[I, R]]
    ) -> BaseException | None:
        """Answer a batch's callers, or give the error that all of them failed with."""
        started = time.monotonic()
        items = [place.item for place in batch if place.item is not None]
        results = await thread.run(_results_or_error, worker, items)
        self._observer.ran(len(batch), time.monotonic() - started)
        if isinstance(results, BaseException):
            return results
        for place, result in zip(batch, results, strict=True):
            self._places.settle(place, result)
        return None

    def _still_wanted(self, place: Place[I, R]) -> bool:
        """Whether its caller waits and it is in time, also where its timer has not run yet."""
        if place.caller.deadline <= time.monotonic():
            self._places.expire(place)
        return not place.outcome.done()


def _results_or_error(worker: Worker[I, R], items: Sequence[I]) -> Sequence[R] | BaseException:
    """Run a batch on a thread. Never raises: even a model's SystemExit must not end the worker."""
    try:
        results = worker(items)
        if len(results) != len(items):
            raise MeshError(f"the model gave {len(results)} results for {len(items)} items")
    except BaseException as error:
        return error
    return results
