"""Threads for work that would block the event loop, such as decoding an image or a model's batch.

What run_in_executor does, in some two thirds of its 100 microseconds: a request waits for several
such calls in a row, and each of them takes the core from a model.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(eq=False, slots=True)
class _Job(Generic[R]):
    """A call to make on a thread; on the loop what became of it, and what its thread does next."""

    call: Callable[[], R]
    loop: asyncio.AbstractEventLoop
    outcome: asyncio.Future[R]
    then: Callable[["Thread"], None]

    @classmethod
    def of(cls, call: Callable[[], R], then: Callable[["Thread"], None]) -> Self:
        """For the running loop."""
        loop = asyncio.get_running_loop()
        return cls(call, loop, loop.create_future(), then)

    def run(self, thread: "Thread") -> None:
        """Make the call. Never raises."""
        try:
            result = self.call()
        except BaseException as error:
            self._tell(thread, asyncio.Future.set_exception, error)
        else:
            self._tell(thread, asyncio.Future.set_result, result)
        finally:
            del self  # The outcome holds the error, whose traceback holds this frame.

    def _tell(self, *news: Any) -> None:
        with suppress(RuntimeError):  # The loop is closed: nobody waits.
            self.loop.call_soon_threadsafe(self._finish, *news)

    def _finish(self, thread: "Thread", settle: Callable[..., None], value: Any) -> None:
        try:
            if not self.outcome.done():  # As it is where its caller has left.
                settle(self.outcome, value)
        finally:
            self.then(thread)


class Thread:
    """One thread, which makes calls one after the other. It is there when this is made."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        # A stuck one must not hold up the end of the process.
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        thread.start()
        self.native_id: int = thread.native_id or 0

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Make a call after those before it, also where what is returned is cancelled."""
        job = _Job.of(partial(function, *args, **kwargs), lambda _: None)
        self.start(job)
        return job.outcome

    def start(self, job: _Job[Any]) -> None:
        """Do a job after those before it."""
        self._jobs.put(job)

    def close(self) -> None:
        """Let the thread end when it has nothing to do, without waiting for it."""
        self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run(self)
            del job  # It holds an input.


class Threads:
    """Makes calls on at most `count` threads, each of which begins when it is first needed.

    What finds no free thread waits on the event loop and not in a thread's queue, so that a caller
    that leaves takes its input out of memory at once.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._threads: list[Thread] = []
        self._free: list[Thread] = []
        self._waiting: dict[asyncio.Future[Any], _Job[Any]] = {}

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """Make a call as soon as a thread is free. Cancelling leaves one that has begun to finish.

        It has the caller's context, so that lines logged on the thread bear its request id.
        """
        run_here = contextvars.copy_context().run
        job = _Job.of(partial(run_here, partial(function, *args, **kwargs)), self._go_on)
        if thread := self._take():
            thread.start(job)
        else:
            self._waiting[job.outcome] = job
            job.outcome.add_done_callback(lambda outcome: self._waiting.pop(outcome, None))
        return job.outcome

    def close(self) -> None:
        """Let the threads end, without waiting for them; what has not begun is given up."""
        for outcome in list(self._waiting):
            outcome.cancel()
        for thread in self._threads:
            thread.close()

    def _take(self) -> Thread | None:
        if self._free:
            return self._free.pop()  # The last that became free: its memory is the warmest.
        if len(self._threads) == self._count:
            return None
        self._threads.append(Thread(self._name))
        return self._threads[-1]

    def _go_on(self, thread: Thread) -> None:
        """Give a free thread what has waited the longest."""
        while self._waiting:
            job = self._waiting.pop(next(iter(self._waiting)))
            if not job.outcome.done():
                thread.start(job)
                return
        self._free.append(thread)
